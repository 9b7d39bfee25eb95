/**
 * What is asked of routing: groups of domains and what visitors of them see. Services `a`, `b`, `c` echo; `builds`
 * has the keys 40, 41 (disabled), 42 and 43 (no backend yet), `pinned` the same with `latest: 40`.
 */
import type { CauseCode } from '../../../shared/causes.ts';
import type { Asking } from './asking.ts';

export interface Visit {
  readonly host: string;
  readonly path?: string;
  readonly asking?: Asking;
  /** Status of the answer; default 200. */
  readonly status?: number;
  /** Why the proxy itself answered; null (the default) for an answer that is no error of the proxy. */
  readonly cause?: CauseCode | null;
  /** Name of the echo and the target that it heard. */
  readonly to?: string;
  readonly body?: string;
  /** Fields of the answer; null for absent. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** Fields that the backend got; null for absent. */
  readonly got?: Readonly<Record<string, string | null>>;
}

interface Form {
  readonly what: string;
  readonly domains: readonly Readonly<Record<string, unknown>>[];
  readonly visits: readonly Visit[];
}

const x = (name: string) => `${name}.example.com`;
const HOSTS: Form = {
  what: 'hosts: exact, one label, any depth (longest first), regular expression by name, aliases, IDN, addresses',
  domains: [
    { name: x('exact'), service: 'a', aliases: ['ALIAS.example.net.', '*.alias.example.net'] },
    { name: '*.example.com', service: 'b' },
    { name: '**.example.com', routes: [{ answer: { body: 'any depth' } }] },
    { name: '**.deep.example.com', routes: [{ answer: { body: 'deeper' } }] },
    { name: '~^v[0-9]+\\.example\\.net$', routes: [{ answer: { body: 'second regex' } }] },
    { name: '~^v1', routes: [{ answer: { body: 'whole host only' } }] },
    { name: '~.*\\.example\\.net', routes: [{ answer: { body: 'first regex' } }], aliases: [] },
    { name: 'bücher.example', routes: [{ answer: { body: 'books' } }] },
    { name: '192.0.2.80', routes: [{ answer: { body: 'v4' } }] },
    { name: '[2001:DB8:0::80]', routes: [{ answer: { body: 'v6' } }] },
  ],
  visits: [
    { host: x('exact'), to: 'a /' },
    { host: 'EXACT.Example.COM', to: 'a /' },
    { host: 'exact.example.com.', to: 'a /' },
    { host: 'exact.example.com:8080', to: 'a /' },
    { host: 'alias.example.net', to: 'a /' },
    { host: 'www.alias.example.net', to: 'a /' },
    { host: 'one.example.com', to: 'b /' },
    { host: 'two.one.example.com', body: 'any depth' },
    { host: 'x.deep.example.com', body: 'deeper' },
    { host: 'y.x.deep.example.com', body: 'deeper' },
    { host: 'deep.example.com', to: 'b /' },
    { host: 'v7.example.net', body: 'first regex' },
    { host: 'v1.example.org', status: 404, cause: 'host_unknown' },
    { host: 'example.com', status: 404, cause: 'host_unknown' },
    { host: 'xn--bcher-kva.example', body: 'books' },
    { host: '192.0.2.80', body: 'v4' },
    { host: '[2001:db8::80]', body: 'v6' },
    { host: '__proto__', status: 404, cause: 'host_unknown' },
  ],
};

const PATHS: Form = {
  what: 'paths: prefix by segments, exact, regular expression; exact > regex as written > longest prefix; priority first',
  domains: [
    {
      name: x('paths'),
      routes: [
        { path: '/', service: 'a' },
        { path: '/api', service: 'b' },
        { path: '/api/v2', service: 'c' },
        { path: '=/api/v2/exact', answer: { body: 'exact' } },
        { path: '~^/api/.*\\.js$', answer: { body: 'first regex' } },
        { path: '~\\.js$', answer: { body: 'second regex' } },
        { path: '~(?i)\\.CSS$', answer: { body: 'any case' } },
        { path: ['=/one', '/two', '~^/three[0-9]$'], answer: { body: 'several' } },
        { path: '/api/first', priority: 5, answer: { body: 'priority' } },
        { path: '/last', priority: -1, answer: { body: 'never: / goes before' } },
        { path: '/grüße', answer: { body: 'unicode' } },
      ],
    },
    { name: x('few'), routes: [{ path: '/only', service: 'a' }] },
  ],
  visits: [
    { host: x('paths'), to: 'a /' },
    { host: x('paths'), path: '/apix', to: 'a /apix' },
    { host: x('paths'), path: '/api', to: 'b /api' },
    { host: x('paths'), path: '/api?q=/api/v2', to: 'b /api?q=/api/v2' },
    { host: x('paths'), path: '/api/v2/x', to: 'c /api/v2/x' },
    { host: x('paths'), path: '/api/v2/exact', body: 'exact' },
    { host: x('paths'), path: '/api/v2/exact/', to: 'c /api/v2/exact/' },
    { host: x('paths'), path: '/api/v2/a.js', body: 'first regex' },
    { host: x('paths'), path: '/a.js', body: 'second regex' },
    { host: x('paths'), path: '/a.JS', to: 'a /a.JS' },
    { host: x('paths'), path: '/a.css', body: 'any case' },
    { host: x('paths'), path: '/one', body: 'several' },
    { host: x('paths'), path: '/one/more', to: 'a /one/more' },
    { host: x('paths'), path: '/two/more', body: 'several' },
    { host: x('paths'), path: '/three3', body: 'several' },
    { host: x('paths'), path: '/api/first/a.js', body: 'priority' },
    { host: x('paths'), path: '/last', to: 'a /last' },
    { host: x('paths'), path: '/gr%C3%BC%C3%9Fe/x', body: 'unicode' },
    // Seen as others would read it, forwarded as it came.
    { host: x('paths'), path: '/x/../api/./v2//%76', status: 400, cause: 'path_ambiguous' },
    { host: x('paths'), path: '/api/v2/%61', to: 'c /api/v2/%61' },
    { host: x('few'), status: 404, cause: 'route_unknown' },
    { host: x('few'), path: '/only/x', to: 'a /only/x' },
  ],
};

const CONDITIONS: Form = {
  what: 'conditions: methods and header fields; who does not meet them goes to the next route',
  domains: [
    {
      name: x('conditions'),
      routes: [
        { path: '/', methods: ['POST', 'PUT'], service: 'b' },
        { path: '/', headers: { 'x-beta': '1' }, service: 'c' },
        { path: '/', service: 'a' },
      ],
    },
  ],
  visits: [
    { host: x('conditions'), to: 'a /' },
    { host: x('conditions'), asking: { method: 'POST', body: 'x' }, to: 'b /' },
    { host: x('conditions'), asking: { headers: { 'X-Beta': '1' } }, to: 'c /' },
    { host: x('conditions'), asking: { headers: { 'X-Beta': '2' } }, to: 'a /' },
  ],
};

const KEYS: Form = {
  what: 'keys: a number, latest, latest set by hand, disabled, gone, not there yet, without backends',
  domains: [
    { name: x('k-latest'), service: 'builds' },
    { name: x('k-40'), service: 'builds', key: 40 },
    { name: x('k-41'), service: 'builds', key: 41 },
    { name: x('k-39'), service: 'builds', key: 39 },
    { name: x('k-43'), service: 'builds', key: 43 },
    { name: x('k-44'), service: 'builds', key: 44 },
    { name: x('k-pinned'), service: 'pinned', key: 'latest' },
  ],
  visits: [
    { host: x('k-latest'), to: 'build 42 /' },
    { host: x('k-40'), to: 'build 40 /' },
    { host: x('k-pinned'), to: 'build 40 /' },
    { host: x('k-41'), status: 503, cause: 'key_disabled' },
    { host: x('k-39'), status: 410, cause: 'key_gone' },
    { host: x('k-43'), status: 503, cause: 'no_backend' },
    { host: x('k-44'), status: 503, cause: 'key_future', headers: { 'retry-after': '60' } },
  ],
};

const SERVICES: Form = {
  what: 'services that cannot be had: disabled, dead, empty, missing; each with its own cause',
  domains: ['off', 'dead', 'empty', 'missing'].map((name) => ({ name: x(`s-${name}`), service: name })),
  visits: [
    { host: x('s-off'), status: 503, cause: 'service_disabled', headers: { 'retry-after': null } },
    { host: x('s-dead'), status: 503, cause: 'all_dead' },
    { host: x('s-empty'), status: 503, cause: 'no_backend' },
    { host: x('s-missing'), status: 503, cause: 'service_missing' },
  ],
};

const REDIRECTS: Form = {
  what: 'redirects: every status, with and without path and query, strip and rewrite before',
  domains: [
    {
      name: x('redirects'),
      routes: [
        { path: '/plain', redirect: { to: 'https://new.example.com/there?x=1' } },
        ...[301, 302, 303, 307].map((status) => ({ path: `/${status}`, redirect: { to: '/here', status } })),
        { path: '/keep', redirect: { to: 'https://new.example.com/', keepPath: true } },
        { path: '/strip', stripPrefix: true, redirect: { to: '//'.slice(1), keepPath: true } },
        {
          path: '/move',
          rewrite: { match: '~^/move/([0-9]+)', to: '/items/$1' },
          redirect: { to: 'https://new.example.com', keepPath: true, status: 301 },
        },
      ],
    },
  ],
  visits: [
    {
      host: x('redirects'),
      path: '/plain/x?y=2',
      status: 308,
      headers: { location: 'https://new.example.com/there?x=1' },
      body: '',
    },
    ...[301, 302, 303, 307].map((status) => ({
      host: x('redirects'),
      path: `/${status}`,
      status,
      headers: { location: '/here', 'content-length': '0' },
    })),
    {
      host: x('redirects'),
      path: "/keep/a%20b/'c'?q=1&r=%2F",
      status: 308,
      headers: { location: "https://new.example.com/keep/a%20b/'c'?q=1&r=%2F" },
    },
    { host: x('redirects'), path: '/strip/a', status: 308, headers: { location: '/a' } },
    {
      host: x('redirects'),
      path: '/strip//evil.example',
      status: 308,
      headers: { location: '/evil.example' },
    },
    {
      host: x('redirects'),
      path: '/move/17?a=b',
      status: 301,
      headers: { location: 'https://new.example.com/items/17?a=b' },
    },
  ],
};

const CHANGES: Form = {
  what: 'the path a backend gets: strip, rewrite, add, in this order; the query stays; a service may set its Host',
  domains: [
    {
      name: x('changes'),
      routes: [
        { path: '/api', service: 'a', stripPrefix: true, addPrefix: '/v2' },
        { path: ['/one', '/one/two'], service: 'a', stripPrefix: true },
        { path: '/static', service: 'b', rewrite: { match: '~^/static/(.*)', to: '/$1' } },
        {
          path: '/all',
          service: 'b',
          stripPrefix: true,
          rewrite: { match: '~^/(\\w+)/(\\w+)$', to: '/$2/$1' },
          addPrefix: '/base/',
        },
        { path: '/added', service: 'c', addPrefix: '/pre' },
        { path: '/', service: 'own-host' },
      ],
    },
  ],
  visits: [
    { host: x('changes'), path: '/api', to: 'a /v2' },
    { host: x('changes'), path: '/api/', to: 'a /v2' },
    { host: x('changes'), path: '/api/users?id=1', to: 'a /v2/users?id=1' },
    { host: x('changes'), path: '/api/a%2Fb', to: 'a /v2/a%2Fb' },
    { host: x('changes'), path: '/one/two/three', to: 'a /three' },
    { host: x('changes'), path: '/one/three', to: 'a /three' },
    { host: x('changes'), path: '/static/css/a.css?v=3', to: 'b /css/a.css?v=3' },
    { host: x('changes'), path: '/all/x/y', to: 'b /base/y/x' },
    { host: x('changes'), path: '/added', to: 'c /pre/added' },
    {
      host: x('changes'),
      path: '/a//b/%7e\'?x="y',
      to: 'own-host /a//b/%7e\'?x="y',
      got: { host: 'inner.example.net', 'x-forwarded-host': x('changes') },
    },
    {
      host: x('changes'),
      path: '/added/x',
      asking: {
        headers: { 'X-Forwarded-For': '203.0.113.9', 'X-Forwarded-Prefix': '/p', Forwarded: 'for=1.2.3.4' },
      },
      to: 'c /pre/added/x',
      got: {
        host: x('changes'),
        'x-forwarded-for': '127.0.0.1',
        'x-real-ip': '127.0.0.1',
        'x-forwarded-proto': 'http',
        'x-forwarded-prefix': null,
        forwarded: null,
        via: '1.1 kontrol',
      },
    },
  ],
};

const PAST = '2020-01-01T00:00:00Z';
const FAR = '2099-01-01T00:00:00Z';
const MODES: Form = {
  what: 'answers of routes and modes: fixed answers, maintenance of domain and route, schedules, bypass, off',
  domains: [
    {
      name: x('answers'),
      routes: [
        { path: '=/robots.txt', answer: { body: 'User-agent: *\n', type: 'text/plain' } },
        { path: '/teapot', answer: { status: 418, body: '{}', type: 'application/json' } },
        { path: '/none', answer: { status: 204 } },
        { path: '/soon', maintenance: true },
        { path: '/window', service: 'a', maintenance: { from: PAST, until: FAR } },
        { path: '/over', service: 'a', maintenance: { from: PAST, until: PAST } },
        { path: '/later', service: 'a', maintenance: { from: FAR } },
        {
          path: '/staff',
          service: 'a',
          maintenance: {
            bypass: {
              addresses: ['127.0.0.2'],
              cookie: { name: 'pass', value: 'yes' },
              header: { name: 'x-pass', value: 'yes' },
            },
          },
        },
      ],
    },
    { name: x('off'), mode: 'off', service: 'a' },
    { name: x('maintained'), mode: 'maintenance', service: 'a' },
  ],
  visits: [
    {
      host: x('answers'),
      path: '/robots.txt',
      body: 'User-agent: *\n',
      headers: { 'content-type': 'text/plain' },
    },
    { host: x('answers'), path: '/teapot/x', status: 418, body: '{}', headers: { 'content-length': '2' } },
    { host: x('answers'), path: '/none', status: 204, body: '', headers: { 'content-length': null } },
    {
      host: x('answers'),
      path: '/soon',
      status: 503,
      cause: 'maintenance',
      headers: { 'retry-after': '60' },
    },
    { host: x('answers'), path: '/window', status: 503, cause: 'maintenance' },
    { host: x('answers'), path: '/over', to: 'a /over' },
    { host: x('answers'), path: '/later', to: 'a /later' },
    { host: x('answers'), path: '/staff', status: 503, cause: 'maintenance' },
    { host: x('answers'), path: '/staff', asking: { from: '127.0.0.2' }, to: 'a /staff' },
    { host: x('answers'), path: '/staff', asking: { headers: { cookie: 'a=b; pass=yes' } }, to: 'a /staff' },
    { host: x('answers'), path: '/staff', asking: { headers: { 'X-Pass': 'yes' } }, to: 'a /staff' },
    { host: x('off'), status: 503, cause: 'domain_off' },
    { host: x('maintained'), status: 503, cause: 'maintenance' },
  ],
};

export const FORMS: readonly Form[] = [HOSTS, PATHS, CONDITIONS, KEYS, SERVICES, REDIRECTS, CHANGES, MODES];
