import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { guard, type Asked } from './guard.ts';

const DOOR = { token: 'T0ken-of_this-run', port: 4711 };
const HOST = '127.0.0.1:4711';

const ask = (over: Partial<Asked> = {}) =>
  guard({ method: 'GET', target: `/${DOOR.token}/`, headers: { host: HOST }, ...over }, DOOR);
const withHeaders = (headers: Asked['headers']) => ask({ headers: { host: HOST, ...headers } });

const PAGE = { kind: 'serve', resource: 'page' };
const refused = (code: number) => ({ kind: 'refuse', code });

describe('guard()', () => {
  it('serves page and status below the token, to GET and HEAD', () => {
    assert.deepEqual(ask(), PAGE);
    assert.deepEqual(ask({ method: 'HEAD' }), PAGE);
    assert.deepEqual(ask({ target: `/${DOOR.token}/status` }), {
      kind: 'serve',
      resource: 'status',
    });
  });

  it('takes the address that it is bound to with its own port', () => {
    assert.deepEqual(ask({ headers: { host: HOST } }), PAGE);
    const target = `/${DOOR.token}/`;
    const asked = { method: 'GET', target, headers: { host: '127.0.0.1' } };
    assert.deepEqual(guard(asked, { ...DOOR, port: 80 }), PAGE);
  });

  it('refuses other hosts, as a name that was made to mean 127.0.0.1', () => {
    for (const host of [
      'attacker.example:4711',
      'localhost:4711',
      '[::1]:4711',
      '127.0.0.1',
      '127.0.0.1:4712',
      '127.0.0.1:4711.attacker.example',
      '127.0.0.1:4711@attacker.example',
      '127.1:4711',
      '0.0.0.0:4711',
      '[::ffff:127.0.0.1]:4711',
      '',
    ]) {
      assert.deepEqual(ask({ headers: { host } }), refused(403), host);
    }
    assert.deepEqual(ask({ headers: {} }), refused(403));
  });

  it('refuses what another site is behind', () => {
    for (const site of ['cross-site', 'same-site', 'anything']) {
      assert.deepEqual(withHeaders({ 'sec-fetch-site': site }), refused(403), site);
    }
    for (const site of ['none', 'same-origin']) {
      assert.deepEqual(withHeaders({ 'sec-fetch-site': site }), PAGE);
    }
    assert.deepEqual(withHeaders({ origin: `http://${HOST}` }), PAGE);
    for (const origin of ['null', 'http://localhost:4711', `https://${HOST}`, 'http://a.example']) {
      assert.deepEqual(withHeaders({ origin }), refused(403), origin);
    }
  });

  it('does not say whether a page exists to who does not know the token', () => {
    for (const target of [
      '/',
      '/status',
      '/favicon.ico',
      `/${DOOR.token}`,
      `//${DOOR.token}/`,
      `/${DOOR.token}/?`,
      `/${DOOR.token}/config`,
      `/${DOOR.token}/status/`,
      `/${DOOR.token}/../status`,
      `/${DOOR.token.toLowerCase()}/`,
      `/${DOOR.token}x/`,
      `http://${HOST}/${DOOR.token}/`,
      '*',
      undefined,
    ]) {
      assert.deepEqual(ask({ target }), refused(404), String(target));
    }
    assert.deepEqual(ask({ method: 'POST', target: '/nobody/' }), refused(404));
  });

  it('takes no method that could change something', () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', undefined]) {
      assert.deepEqual(ask({ method }), refused(405), String(method));
    }
  });

  it('serves nothing to any other target, and throws for none', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (target) => {
        fc.pre(!target.startsWith(`/${DOOR.token}/`));
        assert.deepEqual(ask({ target }), refused(404));
      }),
    );
  });
});
