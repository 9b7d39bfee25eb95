/**
 * What a decision costs with 10 000 domains on 2 000 services: nanoseconds per `decide` for the usual kinds of
 * request, the median and the best of the passes, and milliseconds to fill the table and to patch one domain.
 * Requests are made beforehand; nothing but `decide` is measured. `node build/…/bench/decide.js [passes]`.
 */

import { decide } from '../shared/routing/decide.ts';
import type { RequestView } from '../shared/routing/decision.ts';
import type { TableEntry } from '../shared/routing/entry.ts';
import { domainEntry, NOW, ruleEntry, serviceEntry } from '../shared/routing/fixtures.ts';
import { Table } from '../shared/routing/table.ts';

const DOMAINS = 10_000;
const SERVICES = 2_000;
const PASSES = Math.max(1, Number(process.argv[2] ?? 11));

function entries(): TableEntry[] {
  const all: TableEntry[] = [
    ruleEntry('bots', {
      list: 'blacklist',
      type: 'ip',
      match: Array.from({ length: 10_000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/25`),
    }),
    ruleEntry('pattern', { list: 'blacklist', type: 'ip-regex', match: ['^192\\.0\\.2\\.'] }),
  ];
  for (let n = 0; n < SERVICES; n++) {
    all.push(
      serviceEntry(`service-${n}`, {
        keys: { '1': { backends: [{ address: `10.1.${n >> 8}.${n & 255}:80` }] } },
      }),
    );
  }
  for (let n = 0; n < DOMAINS; n++) {
    const service = `service-${n % SERVICES}`;
    all.push(
      domainEntry(`d${n}.example.com`, {
        aliases: [`www.d${n}.example.com`, `*.d${n}.example.org`],
        hsts: { maxAge: '365d' },
        routes: [
          { path: ['/'], service },
          { path: ['/api'], service, stripPrefix: true },
          { path: ['/static', '=/robots.txt'], service },
          { path: ['/guarded'], service, firewall: ['bots'] },
          { path: ['/patterned'], service, firewall: ['pattern'] },
        ],
      }),
      domainEntry(`r${n}.example.com`, {
        routes: [
          { path: ['~^/v[0-9]+/'], service },
          { path: ['/'], service },
        ],
      }),
    );
    if (n % 2 === 1) all.pop();
  }
  return all;
}

const KINDS: readonly [
  name: string,
  host: (n: number) => string,
  path: string,
  given?: { readonly secure: boolean },
][] = [
  ['one host again and again', () => 'd7.example.com', '/shop/item/42'],
  ['every host in turn', (n) => `d${n}.example.com`, '/shop/item/42'],
  ['over https, with HSTS', (n) => `d${n}.example.com`, '/shop/item/42', { secure: true }],
  ['a longer prefix', (n) => `d${n}.example.com`, '/static/app.js'],
  ['a stripped prefix', (n) => `d${n}.example.com`, '/api/v1/items'],
  ['a wildcard host', (n) => `x.d${n}.example.org`, '/shop/item/42'],
  ['a path regex first', (n) => `r${n & ~1}.example.com`, '/v42/items'],
  ['10 000 ranges', (n) => `d${n}.example.com`, '/guarded/x'],
  ['an address regex', (n) => `d${n}.example.com`, '/patterned/x'],
  ['an unknown host', (n) => `nobody${n}.example.net`, '/'],
  ['an escaped path', (n) => `d${n}.example.com`, '/caf%C3%A9/%20x'],
  ['a path with dots', (n) => `d${n}.example.com`, '/a/../shop/%7Ex'],
];

/** One shape of object for all, as the data path has it; hosts are not the strings that the table holds. */
class View implements RequestView {
  readonly secure: boolean;
  readonly host: string;
  readonly port = 80;
  readonly method = 'GET';
  readonly rawPath: string;
  readonly query = '';
  readonly address = '203.0.113.7';
  readonly websocket = false;
  readonly now = NOW;

  constructor(rawPath: string, host: string, secure: boolean) {
    this.secure = secure;
    this.rawPath = rawPath;
    this.host = Buffer.from(host).toString('latin1');
  }

  header(): undefined {
    return undefined;
  }
}

/** Long enough for the compiler to have done with everything, and for all that is made at first use to be there. */
const WARM_UP = 10 * DOMAINS;

/**
 * The median and the best of the passes, each 100 000 decisions, in time of the processor. Where hosts come in turn 10 000 other decisions lie
 * between two about one host, so what a decision looks at of the domain has left the cache of the core by then:
 * those rows are mostly times of memory, and tell how many objects a decision touches.
 */
function nanoseconds(table: Table, views: readonly RequestView[]): { median: number; best: number } {
  run(table, views, WARM_UP);
  const count = 10 * DOMAINS;
  const passes = Array.from({ length: PASSES }, () => {
    const start = process.cpuUsage();
    run(table, views, count);
    const { user, system } = process.cpuUsage(start);
    return ((user + system) * 1_000) / count;
  }).sort((one, other) => one - other);
  // In range: there is one pass at least.
  return { median: passes[PASSES >> 1] as number, best: passes[0] as number };
}

function run(table: Table, views: readonly RequestView[], count: number): void {
  for (let made = 0; made < count; made += views.length) {
    for (let n = 0; n < views.length; n++) decide(table, views[n] as RequestView);
  }
}

const all = entries();
const table = new Table();
const filling = performance.now();
const { rejected } = table.apply(all);
console.log(
  `filling the table: ${(performance.now() - filling).toFixed(0)} ms for ${all.length} objects, ${rejected.length} rejected`,
);

for (const [name, host, path, given] of KINDS) {
  const views = Array.from({ length: DOMAINS }, (_, n) => new View(path, host(n), given?.secure ?? false));
  const { median, best } = nanoseconds(table, views);
  console.log(
    `${name.padEnd(26)} ${median.toFixed(0).padStart(6)} ns, best ${best.toFixed(0).padStart(6)} ns`,
  );
}

const patching = performance.now();
for (let n = 0; n < 1_000; n++) table.apply([domainEntry(`d${n}.example.com`, { service: 'service-1' })]);
console.log(`patching one domain: ${((performance.now() - patching) / 1_000).toFixed(3)} ms`);
