/**
 * What the build keeps outside of the bundle: koffi and pkcs11js are native; proto-loader is asked for by
 * one command, and by parts of grpc-js never used here.
 */
export const EXTERNAL = ['koffi', 'pkcs11js', '@grpc/proto-loader'];
