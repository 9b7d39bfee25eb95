import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { resolveService, serviceSchema } from '../../shared/model/service.ts';
import type { Forward } from '../../shared/routing/decision.ts';
import { COMPLETE } from '../http1/field-lines.ts';
import { RequestHead } from '../http1/request-head.ts';
import { HttpRequestView } from '../http1/request-view.ts';
import { type Plan, planOf } from './plan.ts';

interface Asked {
  readonly line?: string;
  readonly fields?: readonly string[];
  readonly secure?: boolean;
  readonly port?: number;
  readonly trusted?: boolean;
  readonly service?: Record<string, unknown>;
  readonly decision?: Partial<Forward>;
}

function plan({ line, fields, secure, port, trusted, service, decision }: Asked = {}): Plan | null {
  const text = [line ?? 'GET /page HTTP/1.1', 'Host: example.com', ...(fields ?? []), '', ''].join('\r\n');
  const head = new RequestHead();
  const bytes = Buffer.from(text);
  assert.equal(head.parse(bytes, 0, bytes.length, { headSize: 16_384, fields: 100 }), COMPLETE);
  const identity = { address: '192.0.2.1', secure: secure ?? false, port: port ?? 80 };
  const view = new HttpRequestView(head);
  view.begin(identity, 0);
  const config = resolveService(serviceSchema.parse({ name: 'shop', coalesce: {}, cache: {}, ...service }));
  const key = { key: 1, enabled: true, backends: [] };
  const forward: Forward = {
    type: 'forward',
    labels: { domain: 'example.com', route: 0, service: 'shop', pages: null, rule: null },
    response: null,
    service: { name: 'shop', config, keys: new Map([[1, key]]), latest: 1, greatest: 1 },
    key,
    path: null,
    request: null,
    limits: null,
    ...decision,
  };
  const source = {
    head,
    identity,
    trusted: trusted ?? false,
    peer: '192.0.2.1',
    forwarding: '',
    protocol: 'HTTP/1.1' as const,
  };
  return planOf(source, view, forward);
}

const name = (asked: Asked = {}) => {
  const { uri, key, flight } = plan(asked) as Plan;
  return { stored: `${uri} ${key}`, flight };
};
const changes = (value: string) => ({
  set: [['x-from', value]] as const,
  add: [],
  remove: new Set<string>(),
});

describe('two requests are the same', () => {
  const same: readonly [what: string, one: Asked, other: Asked][] = [
    ['whoever asks', {}, { fields: ['User-Agent: other', 'X-Request-Id: 7'] }],
    ['when an untrusted peer says otherwise', {}, { fields: ['X-Forwarded-Host: evil.example'] }],
    ['in a host written otherwise', {}, { line: 'GET http://EXAMPLE.com/page HTTP/1.1' }],
    ['in another version of HTTP', {}, { line: 'GET /page HTTP/1.0' }],
    ['when a route changes the answer', {}, { decision: { response: changes('a') } }],
  ];
  for (const [what, one, other] of same) test(what, () => assert.deepEqual(name(one), name(other)));
});

describe('two requests are told apart', () => {
  const apart: readonly [what: string, one: Asked, other: Asked][] = [
    ['by path', {}, { line: 'GET /pag HTTP/1.1' }],
    ['by query', {}, { line: 'GET /page? HTTP/1.1' }],
    ['by port', {}, { line: 'GET http://example.com:80/page HTTP/1.1' }],
    ['by scheme', {}, { secure: true }],
    ['by the port that they came to', {}, { port: 8080 }],
    [
      'by domain',
      {},
      { decision: { labels: { domain: '*', route: 0, service: 'shop', pages: null, rule: null } } },
    ],
    ['by build', {}, { decision: { key: { key: 2, enabled: true, backends: [] } } }],
    ['by what goes to the backend', {}, { decision: { path: '/other' } }],
    [
      'by the changes of their routes',
      { decision: { request: changes('a') } },
      { decision: { request: changes('b') } },
    ],
    ['by a route that changes nothing', {}, { decision: { request: changes('a') } }],
    [
      'by a removed field',
      { decision: { request: changes('a') } },
      { decision: { request: { ...changes('a'), remove: new Set(['x-b']) } } },
    ],
    [
      'by a chosen field',
      { service: { coalesce: { headers: ['X-T'] } }, fields: ['X-T: 1'] },
      { service: { coalesce: { headers: ['X-T'] } }, fields: ['X-T: 2'] },
    ],
    [
      'by a chosen field that one has not',
      { service: { coalesce: { headers: ['X-T'] } } },
      { service: { coalesce: { headers: ['X-T'] } }, fields: ['X-T: '] },
    ],
    [
      'by what a trusted peer says',
      { trusted: true },
      { trusted: true, fields: ['X-Forwarded-Host: other.example'] },
    ],
  ];
  for (const [what, one, other] of apart) {
    test(what, () => {
      assert.notEqual(name(one).stored, name(other).stored);
      assert.notEqual(name(one).flight, name(other).flight);
    });
  }
});

describe('a request waits for nobody', () => {
  for (const fields of [['Authorization: x'], ['Cookie: a=1'], ['Range: bytes=0-1']]) {
    test(`with ${fields[0]}`, () => {
      assert.equal(plan({ fields })?.flight, null);
      assert.equal(plan({ fields, service: { cache: null } }), null);
    });
  }
  test('of a visitor known by a certificate, shown here or to a proxy before', () => {
    for (const asked of [{ decision: { identified: true } }, { fields: ['Client-Cert: :AAAA:'] }] as const) {
      assert.equal(plan(asked)?.flight, null);
      assert.equal(plan(asked)?.asked.authorization, true, 'its answer is kept only if the backend says so');
      assert.equal(plan({ ...asked, service: { cache: null } }), null);
    }
  });
});

describe('a request has no plan', () => {
  const none: readonly [what: string, asked: Asked][] = [
    ['POST', { line: 'POST /page HTTP/1.1' }],
    ['a body', { fields: ['Content-Length: 1'] }],
    ['a chunked body', { fields: ['Transfer-Encoding: chunked'] }],
    ['an expectation', { fields: ['Expect: 100-continue'] }],
    ['an upgrade', { fields: ['Connection: Upgrade', 'Upgrade: h2c'] }],
    ['no-store', { fields: ['Cache-Control: no-store'] }],
    ['If-Match', { fields: ['If-Match: "a"'] }],
    ['If-Unmodified-Since', { fields: ['If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT'] }],
    ['If-Range', { fields: ['If-Range: "a"', 'Range: bytes=0-1'] }],
    ['a condition, without a cache', { fields: ['If-None-Match: "a"'], service: { cache: null } }],
  ];
  for (const [what, asked] of none) test(`with ${what}`, () => assert.equal(plan(asked), null));
});

test('Pragma says no-cache for a request without Cache-Control', () => {
  assert.equal(plan({ fields: ['Pragma: no-cache'] })?.asked.control.noCache, true);
  assert.equal(
    plan({ fields: ['Pragma: no-cache', 'Cache-Control: max-age=5'] })?.asked.control.noCache,
    false,
  );
});
