import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:http';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { startChild, type Child } from './child.ts';
import { BIN, writeKubeconfig, type Cluster } from './real-cluster.ts';
import { eventually } from './eventually.ts';
import { freePort } from './ports.ts';

/** What the manifests name: a node's own, so nothing of that kind may be there already. */
const FOLDERS = ['/run/credence', '/var/lib/credence', '/var/lib/kubelet'];

/** This machine as a node of the cluster: a kubelet with a containerd of its own. */
export interface Node extends AsyncDisposable {
  readonly name: string;
  /** Where the kubelet finds manifests of static pods. */
  readonly staticPods: string;
  /** What the kubelet and containerd wrote. */
  log(): string;
}

/** Starts it with images from these archives; each has its name in it. */
export async function startNode(
  cluster: Cluster,
  name: string,
  images: readonly string[],
): Promise<Node> {
  const there = FOLDERS.filter((folder) => existsSync(folder));
  if (there.length > 0) throw new Error(`this machine has ${there.join(', ')}: it is no blank one`);
  const folder = join(cluster.folder, name);
  mkdirSync(join(folder, 'cni'), { recursive: true });
  const staticPods = join(folder, 'static');
  mkdirSync(staticPods);
  const socket = join(folder, 'c.sock');
  writeFileSync(join(folder, 'containerd.toml'), containerdConfig(folder, socket));
  writeFileSync(join(folder, 'cni/10-ptp.conflist'), cniConfig(folder));
  const env = { PATH: process.env['PATH'] };
  const containerd = await startChild('containerd', ['--config', join(folder, 'containerd.toml')], {
    env,
  });
  const ctr = (...args: string[]) =>
    execFileSync('ctr', ['-a', socket, '-n', 'k8s.io', ...args], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
  /** One, once it is started. */
  const kubelets: Child[] = [];
  const close = async () => {
    for (const child of kubelets) await child.stop();
    removePods(ctr);
    await containerd.stop();
    unmountBelow([cluster.folder, ...FOLDERS]);
    removeCgroups();
    for (const path of FOLDERS) rmSync(path, { recursive: true, force: true });
  };
  const log = () => [containerd, ...kubelets].map((child) => child.log()).join('\n');
  try {
    await eventually(() => ctr('version').includes('Server'), { what: 'containerd' });
    for (const image of images) ctr('images', 'import', image);
    await startKubelet(cluster, { folder, socket, name }, kubelets);
    cluster.kubectl(['wait', '--for=condition=Ready', `node/${name}`, '--timeout=60s']);
  } catch (thrown) {
    const text = log().slice(-4000);
    await close();
    throw new Error(text, { cause: thrown });
  }
  return {
    name,
    staticPods,
    log,
    [Symbol.asyncDispose]: close,
  };
}

interface NodeParts {
  readonly folder: string;
  /** That of containerd. */
  readonly socket: string;
  readonly name: string;
}

/** Adds the kubelet to `started` before it waits for it to be healthy. */
async function startKubelet(cluster: Cluster, parts: NodeParts, started: Child[]): Promise<void> {
  const { folder, name } = parts;
  const { pki } = cluster;
  const subject = `/O=system:nodes/CN=system:node:${name}`;
  const serving = 'extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1';
  cluster.sign(name, subject, 'extendedKeyUsage=clientAuth');
  cluster.sign(`${name}-serving`, subject, serving);
  const [port, health] = [await freePort(), await freePort()];
  const config = join(folder, 'kubelet.json');
  writeFileSync(config, JSON.stringify(kubeletConfig({ ...parts, port, health, pki })));
  const kubeconfig = writeKubeconfig(join(folder, 'kubeconfig'), pki, name);
  const args = [
    ...[`--config=${config}`, `--kubeconfig=${kubeconfig}`, `--cert-dir=${folder}`],
    ...[`--hostname-override=${name}`, '--node-ip=127.0.0.1'],
  ];
  const env = { PATH: process.env['PATH'] };
  const kubelet = await startChild(join(BIN, 'kubelet'), args, { env });
  started.push(kubelet);
  const hopeless = () => kubelet.ended();
  await eventually(() => answersOk(health), { what: 'the kubelet', hopeless });
  await eventually(() => giveAddress(cluster, name), { what: 'the node' });
}

function containerdConfig(folder: string, socket: string): string {
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.internal.v1.tracing"]
[grpc]
  address = "${socket}"
[ttrpc]
  address = "${socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "credence.test/pause:1.0.0"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`;
}

/** Networks for documentation (RFC 5737): nothing that has such an address is elsewhere. */
const NETWORKS = ['198.51.100', '203.0.113', '192.0.2'];

/**
 * A pair of interfaces for each pod. The gateway is an address of this machine: never one of a network
 * that it is in itself, whose gateway would be cut off.
 */
function cniConfig(folder: string): string {
  const own = Object.values(networkInterfaces()).flatMap((all) => all?.map((a) => a.address) ?? []);
  const free = NETWORKS.find(
    (network) => !own.some((address) => address.startsWith(`${network}.`)),
  );
  if (free === undefined) throw new Error('this machine is in every network for documentation');
  const ipam = {
    ...{ type: 'host-local', dataDir: join(folder, 'ipam') },
    ranges: [[{ subnet: `${free}.0/24` }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  return JSON.stringify({ cniVersion: '0.4.0', name: 'pods', plugins: [{ type: 'ptp', ipam }] });
}

interface KubeletParts extends NodeParts {
  readonly port: number;
  readonly health: number;
  readonly pki: string;
}

function kubeletConfig({ folder, socket, port, health, pki, name }: KubeletParts) {
  return {
    ...{ apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' },
    ...{ address: '127.0.0.1', port, healthzPort: health, readOnlyPort: 0 },
    ...{ containerRuntimeEndpoint: `unix://${socket}`, cgroupDriver: 'cgroupfs' },
    ...{ failSwapOn: false, failCgroupV1: false, oomScoreAdj: 0, resolvConf: '' },
    ...{ localStorageCapacityIsolation: false, makeIPTablesUtilChains: false },
    evictionHard: {
      'memory.available': '1Mi',
      'nodefs.available': '1%',
      'imagefs.available': '1%',
    },
    ...{ imageGCHighThresholdPercent: 100, podLogsDir: join(folder, 'logs') },
    volumePluginDir: join(folder, 'plugins'),
    syncFrequency: '5s',
    ...{ staticPodPath: join(folder, 'static'), fileCheckFrequency: '1s' },
    // A changed ConfigMap is in the pods within seconds, not a minute.
    configMapAndSecretChangeDetectionStrategy: 'Watch',
    tlsCertFile: join(pki, `${name}-serving.crt`),
    tlsPrivateKeyFile: join(pki, `${name}-serving.key`),
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(pki, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
  };
}

/** The kubelet reports no loopback address by itself; exec and logs are to go there. */
function giveAddress(cluster: Cluster, name: string): boolean {
  const status = { addresses: [{ type: 'InternalIP', address: '127.0.0.1' }] };
  const patch = ['--subresource=status', '--type=merge', '-p', JSON.stringify({ status })];
  cluster.kubectl(['patch', 'node', name, ...patch]);
  return true;
}

function answersOk(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port, path: '/healthz' }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });
}

type Ctr = (...args: string[]) => string;

/** Ends every container, and with the pods' network namespaces their interfaces. */
function removePods(ctr: Ctr): void {
  const quietly = (...args: string[]) => {
    try {
      return ctr(...args);
    } catch {
      // Gone meanwhile.
      return '';
    }
  };
  const lines = (text: string) => text.split('\n').filter(Boolean);
  const containers = lines(quietly('containers', 'ls', '-q'));
  const namespaces = containers.flatMap((id) =>
    Array.from(
      quietly('containers', 'info', id).matchAll(/netns\/(cni-[0-9a-f-]+)/g),
      ([, n]) => n,
    ),
  );
  for (const id of lines(quietly('tasks', 'ls', '-q'))) {
    quietly('tasks', 'kill', '-s', 'KILL', id);
    quietly('tasks', 'rm', '-f', id);
  }
  for (const name of new Set(namespaces)) {
    if (name === undefined || !existsSync(`/var/run/netns/${name}`)) continue;
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  }
  for (const id of containers) quietly('containers', 'rm', id);
}

function unmountBelow(folders: readonly string[]): void {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1]);
  for (const at of mounts.reverse()) {
    if (at === undefined || !folders.some((f) => at === f || at.startsWith(`${f}/`))) continue;
    execFileSync('umount', ['-l', at], { stdio: 'ignore' });
  }
}

function removeCgroups(): void {
  const top = '/sys/fs/cgroup';
  for (const root of ['', ...readdirSync(top)].map((name) => join(top, name, 'kubepods'))) {
    if (existsSync(root)) removeCgroup(root);
  }
}

function removeCgroup(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  }
  try {
    rmdirSync(path);
  } catch {
    // Of a container that the kernel is not done with.
  }
}
