import { X509Certificate } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { connect, type Socket } from 'node:net';
import type { FetchedSvid } from './daemon.ts';

/** The URIs in the leaf of a PEM chain. */
export function urisOf(pem: string): readonly string[] {
  return (new X509Certificate(pem).subjectAltName ?? '')
    .split(', ')
    .filter((name) => name.startsWith('URI:'))
    .map((name) => name.slice('URI:'.length));
}

/** The SVID of this identity among those fetched. */
export function svidOf(svids: readonly FetchedSvid[], uri: string): FetchedSvid {
  const found = svids.find(({ cert }) => urisOf(cert).includes(uri));
  if (!found) throw new Error(`no SVID of ${uri} was fetched`);
  return found;
}

export interface MtlsRequest {
  readonly port: number;
  /** The URI the server has to show. */
  readonly server: string;
  /** Roots, PEM. */
  readonly trust: string;
  /** Shown to the server; nothing when left out. */
  readonly svid?: FetchedSvid;
  /** Asked for by name (SNI), where the server has several certificates. */
  readonly serverName?: string;
}

/** GET / over mTLS, without Envoy; rejects when either side refuses the other. */
export function mtlsGet(options: MtlsRequest): Promise<IncomingHttpHeaders> {
  const { port, server, trust, svid, serverName } = options;
  return new Promise((resolve, reject) => {
    const req = request(
      {
        ...{ host: '127.0.0.1', port, path: '/', agent: false, ca: trust, timeout: 5_000 },
        ...(svid ? { cert: svid.cert, key: svid.key } : {}),
        ...(serverName === undefined ? {} : { servername: serverName }),
        checkServerIdentity: (_host, { subjectaltname = '' }) =>
          subjectaltname === `URI:${server}` ? undefined : new Error(`it is ${subjectaltname}`),
      },
      (res) => {
        res.resume().once('error', reject);
        res.once('end', () =>
          res.statusCode === 200
            ? resolve(res.headers)
            : reject(new Error(`answered ${res.statusCode}`)),
        );
      },
    );
    req.once('timeout', () => req.destroy(new Error('no answer')));
    req.once('error', reject);
    req.end();
  });
}

/** Opens a TCP connection; rejects when nothing listens. */
export function tcpConnect(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
