import { readdirSync, readFileSync } from 'node:fs';

/** The name that the tests' clusters give this machine. */
export const NODE = 'node-1';
export const BUSYBOX = 'docker.io/library/busybox:1.37.0';

/** A pod of busybox whose process is found by how long it sleeps; `more` is of its spec. */
export function podOf(name: string, seconds: number, more: object = {}) {
  const container = { image: BUSYBOX, imagePullPolicy: 'Never' };
  return {
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { name, namespace: 'default', labels: { proof: 'yes', role: name } },
    spec: {
      ...{ nodeName: NODE, terminationGracePeriodSeconds: 0 },
      containers: [{ ...container, name: 'main', command: ['/bin/sleep', String(seconds)] }],
      ...more,
    },
  };
}

/** This machine's process that sleeps so long. */
export function sleeper(seconds: number): number | undefined {
  const wanted = `/bin/sleep\0${seconds}\0`;
  const isIt = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1') === wanted;
    } catch {
      return false;
    }
  };
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && isIt(name));
  return pid === undefined ? undefined : Number(pid);
}

/** Writes what a pod's stream for `default` was told to `/seen/log`, and does not end when it is asked to. */
const STREAM = `
  const { appendFileSync } = require('node:fs');
  process.on('SIGTERM', () => say('asked to end'));
  const say = (what) => appendFileSync('/seen/log', what + '\\n');
  const text = (field, value) => Buffer.from([field * 8 + 2, value.length, ...Buffer.from(value)]);
  const type = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
  const request = Buffer.concat([text(3, 'default'), text(4, type)]);
  const session = require('node:http2').connect('http://localhost', {
    createConnection: () => require('node:net').connect('/run/credence/api.sock'),
  });
  const stream = session.request({
    ':method': 'POST',
    ':path': '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const ended = (headers) => 'grpc-status' in headers &&
    say('ended ' + headers['grpc-status'] + ' ' + decodeURIComponent(headers['grpc-message']));
  stream.once('data', () => say('a secret'));
  stream.on('response', ended);
  stream.on('trailers', ended);
  stream.on('error', (error) => say(error.message));
  stream.write(Buffer.concat([Buffer.from([0, 0, 0, 0, request.length]), request]));
  setInterval(() => say('alive'), 500);`;

/** A pod with an open stream, whose process stays for its whole grace period; it writes in `seen`. */
export function streamingPod(name: string, seen: string) {
  return podOf(name, 0, {
    terminationGracePeriodSeconds: 20,
    containers: [
      {
        ...{ name: 'main', image: 'credence:0.1.0', imagePullPolicy: 'Never' },
        command: ['/usr/bin/node', '-e', STREAM],
        volumeMounts: [
          { name: 'sockets', mountPath: '/run/credence', readOnly: true },
          { name: 'seen', mountPath: '/seen' },
        ],
      },
    ],
    volumes: [
      { name: 'sockets', hostPath: { path: '/run/credence' } },
      { name: 'seen', hostPath: { path: seen } },
    ],
  });
}
