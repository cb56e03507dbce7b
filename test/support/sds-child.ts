// A process of its own that asks for `default` once, prints the serial and the fingerprint of the
// public key, and ends: node --import tsx sds-child.ts SOCKET
import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { connectProxy } from './sds-proxy.ts';

using proxy = connectProxy(process.argv[2] ?? '');
const [secret] = (await proxy.fetch({ resource_names: ['default'] })).secrets;
if (secret?.kind !== 'certificate') throw new Error(`got ${secret?.kind ?? 'nothing'}`);
const spki = createPublicKey(secret.key).export({ type: 'spki', format: 'der' });
const key = createHash('sha256').update(spki).digest('hex');
console.log(JSON.stringify({ serial: new X509Certificate(secret.chain).serialNumber, key }));
