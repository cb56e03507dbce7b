import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSelector } from '../identity/selector.ts';
import { accounts, neverFilled, neverMatches, type Attestable } from './unmatched.ts';

const MACHINE: Attestable = {
  users: new Map([['web', new Set([33])]]),
  groups: new Map([['staff', new Set([50])]]),
  discoverPath: true,
};
const DIGEST = 'ab'.repeat(32);
const judge = (text: string, machine = MACHINE) => neverMatches(parseSelector(text), machine);

describe('neverMatches()', () => {
  it('says nothing of what a process here may have', () => {
    for (const text of [
      ...['unix:uid:0', 'unix:gid:1000', 'unix:supplementary_gid:4294967294', 'unix:user:web'],
      ...['unix:group:staff', 'unix:supplementary_group:staff', 'unix:path:/usr/bin/envoy:1'],
      `unix:sha256:${DIGEST}`,
    ]) {
      assert.equal(judge(text), undefined, text);
    }
  });

  for (const [text, why] of [
    ['unix:usr:x', 'did you mean unix:user?'],
    ['unix:user', 'it has no value'],
    ['unix:zzzzzzzz:x', 'unix has uid, gid, supplementary_gid, user, group'],
    ['unix:toString:x', 'unix has uid, '],
    ['unix:uid:web', 'unix:uid takes a number: a name such as "web" goes with unix:user'],
    ['unix:uid:4294967296', 'unix:uid takes a number from 0 to 4294967294, got "4294967296"'],
    ['k8s:ns:default', 'no attestor that is enabled makes k8s'],
    ['docker:label:a:b', 'no attestor that is enabled makes docker'],
    ['systemd:id:web.service', 'no attestor that is enabled makes systemd'],
    ['unix:gid:007', 'it takes a number without leading zeros'],
    ['unix:user:nobodyhere', 'this machine has no such user in /etc/passwd'],
    ['unix:group:web', 'this machine has no such group in /etc/group'],
    ['unix:path:envoy', 'it takes an absolute path'],
    [`unix:sha256:${DIGEST.toUpperCase()}`, 'it takes 64 hexadecimal digits in lower case'],
    ['uinx:uid:1', 'did you mean unix?'],
    ['uid:0', 'did you mean unix:uid:0?'],
    ['supplementary_group:web', 'did you mean unix:supplementary_group:web?'],
    ['constructor:x', 'no attestor makes selectors of the type constructor'],
  ] as const) {
    it(`says of ${text} why nothing has it`, () => {
      assert.ok(judge(text)?.startsWith(`${text} matches no process: ${why}`), judge(text));
    });
  }

  it('knows what follows k8s where that attestor is on', () => {
    const machine = { ...MACHINE, kubernetes: true };
    for (const text of ['k8s:ns:shop', 'k8s:pod-label:a/b:c', 'k8s:container-image:x']) {
      assert.equal(judge(text, machine), undefined, text);
      assert.match(judge(text) ?? '', /no attestor that is enabled makes k8s/);
    }
    assert.match(judge('k8s:pod-lable:a:b', machine) ?? '', /did you mean k8s:pod-label\?/);
    assert.match(judge('k8s:zzzzzzzz:a', machine) ?? '', /: k8s has sa, ns, /);
    assert.equal(neverFilled('k8s:pod-label:app', machine), undefined);
    assert.match(neverFilled('k8s:nss', machine) ?? '', /did you mean k8s:ns\?/);
    assert.match(judge('docker:label:a:b', machine) ?? '', /no attestor that is enabled/);
  });

  it('knows what the settings of pods leave out', () => {
    const machine = { ...MACHINE, kubernetes: true };
    const labelled = { ...machine, namespaceLabels: true };
    assert.match(judge('k8s:ns-label:env:prod', machine) ?? '', /namespace_labels is not on/);
    assert.equal(judge('k8s:ns-label:env:prod', labelled), undefined);
    assert.match(neverFilled('k8s:ns-label:env', machine) ?? '', /namespace_labels is not on/);
    const whole = { ...machine, containerSelectors: false };
    assert.match(judge('k8s:container-name:web', whole) ?? '', /container_selectors is off/);
    assert.equal(judge('k8s:pod-image:web', whole), undefined);
  });

  it('knows what follows docker and systemd, and its form, where those attestors are on', () => {
    const machine = { ...MACHINE, docker: true, systemd: true };
    for (const text of [
      ...[
        'docker:label:app:web',
        'docker:label:com.example/app:',
        'docker:env:A=b:c',
        'docker:env:A=',
      ],
      ...[
        'docker:image_id:registry.example:5000/web:1',
        `docker:image_config_digest:sha256:${DIGEST}`,
      ],
      ...['systemd:id:web.service', 'systemd:id:user@7.service', 'systemd:fragment_path:/etc/a'],
    ]) {
      assert.equal(judge(text, machine), undefined, text);
      assert.match(judge(text) ?? '', /no attestor that is enabled makes (?:docker|systemd)$/);
    }
    for (const [text, why] of [
      ['docker:lable:a:b', 'did you mean docker:label?'],
      ['docker:zzzzzzzzzz:a', 'docker has label, env, image_id, image_config_digest'],
      ['docker:constructor:a', 'docker has label, env, image_id, image_config_digest'],
      ['docker:label:app', 'it takes a name and a value, as in docker:label:app:web'],
      ['docker:env:STAGE', 'it takes a variable and its value, as in docker:env:STAGE=production'],
      ['docker:image_id:', 'it takes the image as the container was made from it'],
      ['docker:image_config_digest:web', 'it takes sha256: and 64 hexadecimal digits'],
      ['systemd:unit:a.service', 'systemd has id, fragment_path'],
      ['systemd:id:web', 'it takes the whole name of a unit, as in systemd:id:web.service'],
      ['systemd:fragment_path:web.service', 'it takes an absolute path'],
    ] as const) {
      assert.ok(judge(text, machine)?.startsWith(`${text} matches no process: ${why}`), text);
    }
    assert.equal(neverFilled('docker:label:app', machine), undefined);
    assert.equal(neverFilled('systemd:id', machine), undefined);
    assert.match(neverFilled('docker:lable:app', machine) ?? '', /did you mean docker:label\?/);
    assert.match(neverFilled('systemd:id', MACHINE) ?? '', /no attestor that is enabled/);
  });

  it('says of a path or digest that it is not looked for', () => {
    const machine = { ...MACHINE, discoverPath: false };
    for (const text of ['unix:path:/bin/true', `unix:sha256:${DIGEST}`]) {
      assert.match(judge(text, machine) ?? '', /: attestation\.unix\.discover_path is not on$/);
    }
  });
});

describe('neverFilled()', () => {
  for (const [placeholder, why] of [
    ['unix:usr', 'did you mean {unix:user}?'],
    ['unix:user:web', 'did you mean {unix:user}?'],
    ['unix:zzzzzzzz', 'unix has uid, gid, supplementary_gid, user, group'],
    ['unix:path', 'a path is not one segment of a SPIFFE ID'],
    ['uinx:uid', 'did you mean unix?'],
    ['uid:x', 'did you mean {unix:uid}?'],
    ['k8s:pod-label:app', 'no attestor that is enabled makes k8s'],
    ['constructor:x', 'no attestor makes selectors of the type constructor'],
  ] as const) {
    it(`says of {${placeholder}} why nothing fills it`, () => {
      const told = neverFilled(placeholder, MACHINE);
      assert.ok(told?.startsWith(`{${placeholder}} has a value for no process: ${why}`), told);
    });
  }

  it('says nothing of one that may have a value here', () => {
    for (const placeholder of ['unix:user', 'unix:sha256']) {
      assert.equal(neverFilled(placeholder, MACHINE), undefined, placeholder);
    }
    const machine = { ...MACHINE, discoverPath: false };
    assert.match(neverFilled('unix:sha256', machine) ?? '', /discover_path is not on$/);
  });
});

describe('accounts()', () => {
  it('knows root by its id, and nobody where there is no file', () => {
    assert.ok(accounts('/etc/passwd').get('root')?.has(0));
    assert.deepEqual(accounts('/nowhere/passwd'), new Map());
  });
});
