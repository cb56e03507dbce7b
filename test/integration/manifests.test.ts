// What can be said of k8s/ without a cluster; test/real applies it to one.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse, parseAllDocuments } from 'yaml';
import { COMMANDS } from '../../src/cli/commands.ts';
import { parseConfig, policySources } from '../../src/config.ts';
import { readPolicy } from '../../src/policy/load.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const K8S = join(ROOT, 'k8s');
/** Folders with a kustomization of their own. */
const FOLDERS = ['.', 'cluster-ids', 'monitoring', 'example', 'signer'];

interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly env?: readonly { name: string; value?: string }[];
  readonly resources?: { limits?: { memory?: string }; requests?: Record<string, string> };
  readonly volumeMounts?: readonly { name: string; mountPath: string }[];
  readonly securityContext?: {
    readOnlyRootFilesystem?: boolean;
    privileged?: boolean;
    capabilities?: { drop?: string[]; add?: string[] };
  };
}

interface Volume {
  readonly name: string;
  readonly hostPath?: { path: string; type?: string };
}

interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly securityContext?: { seccompProfile?: { type: string } };
  readonly terminationGracePeriodSeconds?: number;
}

interface Manifest {
  readonly file: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: { readonly template?: { readonly spec: PodSpec }; readonly groups?: Group[] };
}

interface Group {
  readonly rules: readonly { alert: string; expr: string; for?: string }[];
}

const text = (path: string) => readFileSync(join(K8S, path), 'utf8');

/** The objects of the files that a kustomization lists. */
function manifestsOf(folder: string): Manifest[] {
  const { resources } = parse(text(join(folder, 'kustomization.yaml'))) as { resources: string[] };
  return resources.flatMap((name) =>
    parseAllDocuments(text(join(folder, name))).map((document) => {
      assert.deepEqual(document.errors, [], name);
      return { file: join(folder, name), ...(document.toJS() as Omit<Manifest, 'file'>) };
    }),
  );
}

const manifests = FOLDERS.flatMap(manifestsOf);
const pods = manifests.flatMap((manifest) => {
  const spec = manifest.spec?.template?.spec;
  return spec ? [{ ...manifest, pod: spec }] : [];
});
const containers = pods.flatMap(({ kind, metadata, pod }) =>
  [...(pod.initContainers ?? []), ...pod.containers].map((container) => ({
    where: `${kind} ${metadata.name}, container ${container.name}`,
    ...container,
  })),
);
const daemon = pods.find(
  ({ kind, metadata }) => kind === 'DaemonSet' && metadata.name === 'credence',
);

describe('the manifests', () => {
  it('are all listed in a kustomization', () => {
    for (const folder of FOLDERS) {
      const listed = text(join(folder, 'kustomization.yaml'));
      for (const name of readdirSync(join(K8S, folder)).filter((file) => /\.yaml$/.test(file))) {
        if (name !== 'kustomization.yaml') assert.ok(listed.includes(name), `${folder}/${name}`);
      }
    }
  });

  it('bound what each container may take', () => {
    assert.ok(containers.length >= 8);
    for (const { where, resources } of containers) {
      assert.ok(resources?.limits?.memory, where);
      assert.ok(resources.requests?.['cpu'] && resources.requests['memory'], where);
    }
  });

  it('give no container a writable root, and every pod the runtime’s seccomp profile', () => {
    for (const { where, securityContext } of containers) {
      assert.equal(securityContext?.readOnlyRootFilesystem, true, where);
    }
    for (const { file, metadata, pod } of pods) {
      const profile = pod.securityContext?.seccompProfile?.type;
      assert.equal(profile, 'RuntimeDefault', `${file}: ${metadata.name}`);
    }
  });

  it('drop every capability but those that have a reason above them', () => {
    for (const { where, securityContext } of containers) {
      if (securityContext?.privileged === true) continue;
      assert.deepEqual(securityContext?.capabilities?.drop, ['ALL'], where);
    }
    for (const file of new Set(manifests.map((manifest) => manifest.file))) {
      const lines = text(file).split('\n');
      lines.forEach((line, n) => {
        if (/^\s+- [A-Z_]{4,}$|privileged: true/.test(line)) {
          assert.match(lines[n - 1] ?? '', /^\s+# /, `${file}:${n + 1}: ${line.trim()}`);
        }
      });
    }
  });

  it('give a reason for each rule of RBAC', () => {
    for (const file of ['rbac.yaml', 'ca.yaml', 'cluster-ids/rbac.yaml', 'signer/daemons.yaml']) {
      const lines = text(file).split('\n');
      const rules = lines.flatMap((line, n) => (/^ {2}- apiGroups:/.test(line) ? [n] : []));
      assert.ok(rules.length > 0, file);
      for (const n of rules) assert.match(lines[n - 1] ?? '', /^ {2}# /, `${file}:${n + 1}`);
    }
  });

  it('pin every image', () => {
    for (const { where, image } of containers) {
      if (image !== 'credence')
        assert.match(image, /:v?\d+\.\d+\.\d+$|:distroless-v[\d.]+$/, where);
    }
    const { images } = parse(text('kustomization.yaml')) as { images: { newTag: string }[] };
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    assert.deepEqual(
      images.map(({ newTag }) => newTag),
      [version],
    );
  });

  it('call commands that are there', () => {
    const called = containers.flatMap(({ command = [] }) =>
      command[0] === '/usr/bin/credence' ? [command.slice(1)] : [],
    );
    assert.equal(called.length, 2);
    for (const words of called) {
      const command = COMMANDS.find((c) => words.join(' ').startsWith(`${c.words} `));
      assert.ok(command, words.join(' '));
      for (const [, flag] of words.join(' ').matchAll(/--([a-z-]+)/g)) {
        assert.ok(
          command.flags.some(({ name }) => name === flag),
          flag,
        );
      }
    }
  });
});

describe('the DaemonSet of credence', () => {
  const env = {
    CREDENCE_ATTESTATION_KUBERNETES_NODE_NAME: 'node-1',
    KUBERNETES_SERVICE_HOST: '::1',
  };
  const file = join(K8S, 'config/credence.yaml');
  const config = parseConfig(readFileSync(file), file, env);
  const container = daemon?.pod.containers[0];
  const volumes = daemon?.pod.volumes ?? [];
  /** The host's folder in which a path of the container is. */
  const onHost = (path: string) => {
    const mount = container?.volumeMounts?.find(({ mountPath }) =>
      path.startsWith(`${mountPath}/`),
    );
    return volumes.find(({ name }) => name === mount?.name)?.hostPath;
  };

  it('has sockets and data in folders of the node, which are made where they are missing', () => {
    const [socket = ''] = config.socketPaths;
    for (const path of [socket, config.adminSocketPath, config.dataDir]) {
      assert.equal(onHost(path)?.type, 'DirectoryOrCreate', path);
    }
  });

  it('keeps the admin socket and the data out of the folder that workloads mount', () => {
    const shared = dirname(config.socketPaths[0] ?? '');
    for (const path of [config.adminSocketPath, config.dataDir]) {
      assert.ok(!path.startsWith(`${shared}/`), path);
      assert.notEqual(onHost(path)?.path, onHost(`${shared}/api.sock`)?.path);
    }
  });

  it('tells its commands where the sockets are', () => {
    const value = (name: string) => container?.env?.find((e) => e.name === name)?.value;
    assert.equal(value('CREDENCE_ADMIN_SOCKET'), config.adminSocketPath);
    assert.equal(value('SPIFFE_ENDPOINT_SOCKET'), `unix://${config.socketPaths[0]}`);
  });

  it('leaves more time to end than draining takes', () => {
    const seconds = daemon?.pod.terminationGracePeriodSeconds ?? 0;
    assert.ok(seconds * 1000 >= config.drainDeadlineMs + 5000, `${seconds} s`);
  });

  it('has the policy of the example, without a fault', () => {
    const policy = readPolicy({ ...policySources(config), paths: [join(K8S, 'policy')] });
    assert.deepEqual([policy.faults, policy.warnings], [[], []]);
    assert.equal(policy.entries.length, 2);
  });
});

describe('the Deployment of the signer', () => {
  it('has a configuration that is one, for the daemons of the DaemonSet', () => {
    const file = join(K8S, 'signer/config/signer.yaml');
    const { signer, trustDomain } = parseConfig(readFileSync(file), file, {
      KUBERNETES_SERVICE_HOST: '::1',
    });
    const { metadata } = daemon ?? { metadata: { name: '' } };
    assert.deepEqual(signer.serviceAccount, { namespace: 'credence', name: metadata.name });
    const daemons = join(K8S, 'config/credence.yaml');
    const env = { CREDENCE_ATTESTATION_KUBERNETES_NODE_NAME: 'n', KUBERNETES_SERVICE_HOST: '::1' };
    assert.equal(parseConfig(readFileSync(daemons), daemons, env).trustDomain, trustDomain);
  });

  it('may do what it does to objects of the names that it is configured with, and no more', () => {
    const { signer } = parseConfig('trust_domain: example.org', 'x.yaml', {});
    const rules = manifestsOf('signer').flatMap(
      (one) =>
        (one as unknown as { rules?: { resources: string[]; resourceNames?: string[] }[] }).rules ??
        [],
    );
    const named = rules.flatMap(({ resourceNames }) => resourceNames ?? []);
    const { secret, keyRecord, rootsConfigMap, name } = signer;
    assert.deepEqual(
      [...new Set(named)].sort(),
      [secret.name, keyRecord.name, rootsConfigMap.name, name].sort(),
    );
  });
});

describe('the alert rules', () => {
  it('are those of docs/alerts.md', () => {
    const [, written = ''] =
      /```yaml\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'docs/alerts.md'), 'utf8')) ?? [];
    const documented = (parse(written) as { groups: Group[] }).groups;
    const rule = manifests.find(({ kind }) => kind === 'PrometheusRule');
    assert.deepEqual(rule?.spec?.groups, documented);
  });

  it('are the same in the chart', () => {
    const [chart, rule] = ['chart/templates/monitoring.yaml', 'monitoring/prometheusrule.yaml'].map(
      (path) => readFileSync(join(K8S, path), 'utf8').replace(/^[\s\S]*\n {2}groups:\n/, ''),
    );
    assert.equal(chart, `${rule ?? ''}{{- end }}\n`);
  });

  it('tell of processes that any attestor could not speak for, those aside that had ended', () => {
    const groups = manifests.find(({ kind }) => kind === 'PrometheusRule')?.spec?.groups ?? [];
    const all = groups.flatMap(({ rules }) => rules.map(({ expr }) => expr));
    const fails = all.filter((expr) => expr.includes('credence_attestation_failures_total'));
    assert.deepEqual(fails, [
      'increase(credence_attestation_failures_total{reason!="gone"}[10m]) > 0',
    ]);
  });

  it('tell of manifests that give nothing, or nobody knows what', () => {
    const groups = manifests.find(({ kind }) => kind === 'PrometheusRule')?.spec?.groups ?? [];
    const all = groups.flatMap(({ rules }) => rules.map(({ expr }) => expr));
    assert.ok(all.includes('credence_manifests_refused > 0'));
    assert.ok(all.includes('credence_manifest_undecided_pods > 0'));
  });

  it('ask for metrics that the README lists', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const groups = manifests.find(({ kind }) => kind === 'PrometheusRule')?.spec?.groups ?? [];
    const names = new Set(
      groups.flatMap(({ rules }) =>
        rules.flatMap(({ expr }) => Array.from(expr.matchAll(/credence_\w+/g), ([name]) => name)),
      ),
    );
    assert.ok(names.size > 8);
    for (const name of names) assert.match(readme, new RegExp(`^\\| \`${name}\``, 'm'));
  });
});
