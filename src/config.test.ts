import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadConfig, parseConfig, type Config } from './config.ts';
import { IdentityError } from './core/errors.ts';
import type { Environment } from './read-settings.ts';
import { SETTINGS } from './settings.ts';

const FILE = '/etc/credence/credence.yaml';
const MINIMAL = 'trust_domain: example.org\n';

function parse(text: string, env: Environment = {}): Config {
  return parseConfig(text, FILE, env);
}

describe('parseConfig()', () => {
  it('needs nothing but a trust domain', () => {
    const config = parse(MINIMAL);
    assert.equal(config.trustDomain, 'example.org');
    assert.equal(config.nodeName, hostname());
    assert.deepEqual(config.socketPaths, ['/run/credence/api.sock']);
    assert.equal(config.adminSocketPath, '/run/credence/private/admin.sock');
    assert.equal(config.dataDir, '/var/lib/credence');
    assert.deepEqual(config.policyPaths, []);
    assert.equal(config.issuer.x509SvidTtlMs, 3_600_000);
    assert.equal(config.telemetry.logFormat, undefined);
    assert.deepEqual(config.telemetry.metricsAddress, { host: '127.0.0.1', port: 9464 });
  });

  it('takes relative paths as relative to the file', () => {
    const config = parse(
      `${MINIMAL}socket_path: api.sock\nextra_socket_paths: [../istio/socket, /abs/x.sock]\n` +
        'admin_socket_path: a/admin.sock\ndata_dir: .\npolicy: {paths: [policy, /srv/policy]}\n',
    );
    assert.deepEqual(config.socketPaths, [
      '/etc/credence/api.sock',
      '/etc/istio/socket',
      '/abs/x.sock',
    ]);
    assert.equal(config.adminSocketPath, '/etc/credence/a/admin.sock');
    assert.equal(config.dataDir, '/etc/credence');
    assert.deepEqual(config.policyPaths, ['/etc/credence/policy', '/srv/policy']);
  });

  it('lets the environment win over the file, in every kind of value', () => {
    const config = parse(
      `${MINIMAL}issuer: {x509_svid_ttl: 30m}\nrotation: {fraction: 0.4}\n` +
        'attestation: {unix: {discover_path: false}}\ntelemetry: {log_level: debug}\n',
      {
        CREDENCE_TRUST_DOMAIN: 'other.example',
        CREDENCE_ISSUER_X509_SVID_TTL: '20s',
        CREDENCE_ROTATION_FRACTION: '0.7',
        CREDENCE_ATTESTATION_UNIX_DISCOVER_PATH: 'true',
        CREDENCE_POLICY_PATHS: 'a.yaml,/b.yaml',
        CREDENCE_LIMITS_NAMES_PER_STREAM: '7',
        CREDENCE_TELEMETRY_METRICS_ADDRESS: '',
      },
    );
    assert.equal(config.trustDomain, 'other.example');
    assert.equal(config.issuer.x509SvidTtlMs, 20_000);
    assert.equal(config.rotation.fraction, 0.7);
    assert.equal(config.attestation.unix.discoverPath, true);
    assert.deepEqual(config.policyPaths, ['/etc/credence/a.yaml', '/b.yaml']);
    assert.equal(config.limits.namesPerStream, 7);
    assert.equal(config.telemetry.metricsAddress, undefined);
    assert.equal(config.telemetry.logLevel, 'debug');
  });

  it('takes the path of the audit log relative to the file, and - for the log', () => {
    const of = (text: string) => parse(`${MINIMAL}telemetry: {audit_log_path: ${text}}`).telemetry;
    assert.equal(parse(MINIMAL).telemetry.auditLogPath, undefined);
    assert.equal(of('log/audit.jsonl').auditLogPath, '/etc/credence/log/audit.jsonl');
    assert.equal(of("'-'").auditLogPath, '-');
  });

  it('reads each form of a duration', () => {
    for (const [text, ms] of [
      ['250ms', 250],
      ['30s', 30_000],
      ['10m', 600_000],
      ['1h', 3_600_000],
      ['1d', 86_400_000],
      ['0s', 0],
    ] as const) {
      assert.equal(parse(`${MINIMAL}sds: {denied_park: ${text}}`).sds.deniedParkMs, ms, text);
    }
  });

  it('reads metrics addresses of both families', () => {
    for (const [text, address] of [
      ['0.0.0.0:80', { host: '0.0.0.0', port: 80 }],
      ['"[::1]:9464"', { host: '::1', port: 9464 }],
      ['localhost:0', { host: 'localhost', port: 0 }],
      ['""', undefined],
    ] as const) {
      const config = parse(`${MINIMAL}telemetry: {metrics_address: ${text}}`);
      assert.deepEqual(config.telemetry.metricsAddress, address, text);
    }
  });

  it('finds the API server of a pod in the environment, or takes the one that is named', () => {
    const text = (more: string) =>
      `trust_domain: a.b\nattestation: { kubernetes: { enabled: true, node_name: n1${more} } }\n`;
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
    const of = (more: string, environment: Record<string, string>) =>
      parseConfig(text(more), '/c.yaml', environment).attestation.kubernetes;
    assert.deepEqual(of('', env)?.apiServer, { host: 'fd00::1', port: 6443 });
    assert.deepEqual(of(', api_server: "k.test:1"', env)?.apiServer, { host: 'k.test', port: 1 });
    assert.throws(() => of('', {}), /api_server: expected host:port: this is no pod/);
    assert.deepEqual(of(', cgroup_prefix: /docker/x/', env)?.cgroupPrefix, ['docker', 'x']);
    assert.equal(
      parseConfig('trust_domain: a.b\n', '/c.yaml', env).attestation.kubernetes,
      undefined,
    );
    const nameless = 'trust_domain: a.b\nattestation: { kubernetes: { enabled: true } }\n';
    assert.throws(
      () => parseConfig(nameless, '/c.yaml', env),
      /attestation\.kubernetes\.node_name: expected the name of this node/,
    );
  });

  it('takes the files of an issuing CA, relative to its own, with their type alone', () => {
    const text = (more: string) => `${MINIMAL}issuer: { upstream: { ${more} } }`;
    const files = 'cert_file: ca/tls.crt, key_file: ca/tls.key, bundle_file: /ca.crt';
    assert.deepEqual(parse(text(`type: disk, ${files}`)).issuer.upstream, {
      certFile: '/etc/credence/ca/tls.crt',
      keyFile: '/etc/credence/ca/tls.key',
      bundleFile: '/ca.crt',
      newRootDelayMs: 120_000,
    });
    assert.equal(parse(MINIMAL).issuer.upstream, undefined);
    assert.throws(() => parse(text('type: disk')), /upstream\.cert_file: expected a path/);
    assert.throws(
      () => parse(text(files)),
      /cert_file: expected issuer\.upstream\.type to be disk/,
    );
    // Lifetimes of authorities that are not made here do not matter.
    const lives = 'ca_ttl: 1h, x509_svid_ttl: 2h';
    assert.ok(parse(`${MINIMAL}issuer: { ${lives}, upstream: { type: disk, ${files} } }`));
  });

  it('takes the sockets of engines as paths, and wants the user in that of users', () => {
    const of = (more: string) =>
      parseConfig(
        `trust_domain: a.b\nattestation: { docker: { enabled: true${more} }, systemd: { enabled: true } }\n`,
        '/etc/c.yaml',
        {},
      ).attestation;
    assert.deepEqual(of('').docker, {
      socketPath: '/var/run/docker.sock',
      podmanSocketPath: '/run/podman/podman.sock',
      podmanSocketPathTemplate: '',
      cgroupParents: [],
    });
    assert.deepEqual(of('').systemd, { busPath: '/run/dbus/system_bus_socket' });
    const more = [
      ", socket_path: ''",
      "podman_socket_path: 'unix:///run/p.sock'",
      "podman_socket_path_template: 'u/%d.sock'",
      'cgroup_parents: [/a.slice, b/c]',
    ];
    assert.deepEqual(of(more.join(', ')).docker, {
      socketPath: '',
      podmanSocketPath: '/run/p.sock',
      podmanSocketPathTemplate: '/etc/u/%d.sock',
      cgroupParents: [['a.slice'], ['b', 'c']],
    });
    for (const [wrong, message] of [
      [", podman_socket_path_template: '/run/p.sock'", /expected %d, once/],
      [", podman_socket_path_template: '/run/%d/%d'", /expected %d, once/],
      [", podman_socket_path_template: '/run/%s'", /expected %d, once/],
      [', cgroup_parents: [/]', /cgroup_parents: expected paths such as/],
      [
        `, socket_path: '/${'a'.repeat(120)}'`,
        /docker\.socket_path: a socket path has at most 107/,
      ],
    ] as const) {
      assert.throws(() => of(wrong), message);
    }
    assert.equal(parseConfig('trust_domain: a.b\n', '/c.yaml', {}).attestation.docker, undefined);
  });

  it('asks the kubelet of this node for its pods where it is told to, and no API server then', () => {
    const of = (more: string) => {
      const kubernetes = `enabled: true, node_name: n1, source: kubelet${more}`;
      const text = `trust_domain: a.b\nattestation: { kubernetes: { ${kubernetes} } }\n`;
      return parseConfig(text, '/etc/c.yaml', {}).attestation.kubernetes?.kubelet;
    };
    assert.deepEqual(of(', ca_file: ca.crt'), {
      address: { host: '127.0.0.1', port: 10_250 },
      access: 'verified',
      caFile: '/etc/ca.crt',
      pollIntervalMs: 5000,
    });
    assert.equal(of(', kubelet_ca_file: k.crt')?.caFile, '/etc/k.crt');
    const plain = of(', kubelet_access: insecure_read_only_port');
    assert.deepEqual(plain?.address, { host: '127.0.0.1', port: 10_255 });
    assert.deepEqual(of(', kubelet_address: "[::1]:99"')?.address, { host: '::1', port: 99 });
    assert.throws(() => of(', kubelet_address: nobody'), /kubelet_address: expected host:port/);
    assert.throws(
      () => of(', kubelet_access: insecure'),
      /expected one of verified, insecure_skip/,
    );
    assert.throws(() => of(', kubelet_poll_interval: 10ms'), /kubelet_poll_interval: expected/);
  });

  it('shows the whole configuration as it counts, for the admin socket', () => {
    const { written } = parse(`${MINIMAL}sds: {denied_park: 0s}`);
    assert.deepEqual(Object.keys(written), [...new Set(SETTINGS.map((s) => s.key.split('.')[0]))]);
  });
});

describe('loadConfig()', () => {
  it('says which file cannot be read and why', () => {
    assert.throws(
      () => loadConfig('/nonexistent/credence.yaml', {}),
      (thrown) =>
        thrown instanceof IdentityError &&
        thrown.code === 'ERR_CONFIG' &&
        thrown.message === 'cannot read /nonexistent/credence.yaml: there is no such file',
    );
  });

  it('takes no folder for a file', () => {
    const message = `cannot read ${tmpdir()}: it is a folder`;
    assert.throws(() => loadConfig(tmpdir(), {}), { code: 'ERR_CONFIG', message });
  });

  it('knows a policy document when it is given one', () => {
    const text = '# the policy\nentries:\n  - spiffe_id: spiffe://example.org/a\n';
    assert.throws(() => parseConfig(text, '/p.yaml', {}), {
      code: 'ERR_CONFIG',
      message: '/p.yaml:2:1: entries: this looks like a policy document, not a configuration',
      hint: 'policy.paths of the configuration names the policy documents',
    });
  });

  it('reads a file by a relative name', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-config-'));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'c.yaml'), `${MINIMAL}data_dir: d\n`);
    const before = process.cwd();
    process.chdir(folder);
    t.after(() => process.chdir(before));
    assert.equal(loadConfig('c.yaml', {}).dataDir, join(process.cwd(), 'd'));
  });
});
