/**
 * What the build keeps outside of the bundle: koffi is native; proto-loader is asked for by one
 * command, and by parts of grpc-js never used here.
 */
export const EXTERNAL = ['koffi', '@grpc/proto-loader'];
