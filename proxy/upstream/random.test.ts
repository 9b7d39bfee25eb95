import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CompiledService } from '../../shared/routing/decision.ts';
import { type Got, heldRig, service, spec } from './testing.ts';

const ADDRESSES = ['10.0.0.1:80', '10.0.0.2:80', 'app.internal:80', 'unix:/run/app.sock'];

/** One step: what happens, and numbers that say to whom. */
const step = fc.tuple(
  fc.constantFrom(
    'acquire',
    'acquire',
    'acquire',
    'tunnel',
    'retry',
    'connected',
    'connected',
    'refused',
    'release',
    'release',
    'discard',
    'break',
    'cancel',
    'pass',
    'verdict',
    'remote',
    'resolve',
    'table',
    'gone',
    'idle-ends',
    'answers',
    'signals',
    'keys',
  ),
  fc.nat(50),
  fc.nat(50),
);

const tables: readonly CompiledService[] = [
  service({ 1: ADDRESSES }, { pool: { max: 2, min: 1 }, queue: { size: 3 }, passive: { attempts: 2 } }),
  service({ 1: ADDRESSES.slice(0, 1), 2: ADDRESSES }, { pool: { max: 1 }, websocket: { pool: { max: 2 } } }),
  service(
    {
      1: [
        spec(ADDRESSES[0]!, { state: 'drain' }),
        spec(ADDRESSES[1]!, { weight: 3, tier: 1 }),
        ADDRESSES[3]!,
      ],
    },
    { balance: 'least-connections', queue: { size: 0 } },
  ),
  service(
    { 1: [spec(ADDRESSES[0]!, { state: 'lost' }), spec(ADDRESSES[2]!, { worker: 'w', since: 2 })] },
    { balance: 'weighted-round-robin', health: { type: 'http' }, pool: { idle: '1h' } },
  ),
  service(
    { 1: ADDRESSES, 2: [spec(ADDRESSES[1]!, { weight: 0 }), spec(ADDRESSES[3]!, { state: 'drain' })] },
    {
      sticky: { maxAge: '2s' },
      slowStart: '3s',
      eject: { status5xx: 2, latency: '50ms', maxShare: 0.75 },
      pool: { max: 1 },
      queue: { size: 4 },
    },
  ),
  service(
    { 1: ADDRESSES.slice(1) },
    { sticky: {}, slowStart: '1s', eject: { status5xx: 1, maxShare: 1 }, balance: 'rendezvous' },
  ),
];

test('whatever happens in whatever order, each request is answered at most once and nothing is left behind', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (steps) => {
      const { upstreams, connector, acquire, pass, timers } = heldRig();
      let table = tables[0] as CompiledService;
      upstreams.setService('shop', table);
      /** Every Set-Cookie, whatever became of its backend and its key. */
      const cookies: string[] = [];
      const all: { got: Got; cancelled: boolean; ended: boolean }[] = [];
      const open = () => all.filter(({ got, ended }) => got.connection !== null && !ended);
      const one = <T>(list: readonly T[], number: number): T | undefined => list[number % list.length];
      const end = (of: (typeof all)[number] | undefined, how: (got: Got) => void) => {
        if (of === undefined) return;
        of.ended = true;
        how(of.got);
      };

      for (const [what, a, b] of steps) {
        const address = one(ADDRESSES, a)!;
        switch (what) {
          case 'acquire':
          case 'tunnel': {
            const cookie = one(cookies, a)?.split(';')[0];
            const visitor = {
              address: '192.0.2.1',
              target: '/',
              header: () => (b % 3 === 0 ? undefined : cookie),
            };
            const got = acquire(table, { websocket: what === 'tunnel' }, 1 + (b % 2), visitor);
            all.push({ got, cancelled: false, ended: false });
            break;
          }
          case 'retry': {
            const before = one(open(), a)?.got.connection?.backend;
            const tried = before === undefined ? [] : [before];
            all.push({ got: acquire(table, { fresh: true, tried }, 1), cancelled: false, ended: false });
            break;
          }
          case 'connected':
            if (connector.pending.length > 0) connector.succeed(a % connector.pending.length);
            break;
          case 'refused':
            if (connector.pending.length > 0) {
              connector.fail(a % connector.pending.length, b % 5 === 0 ? 'EMFILE' : 'ECONNREFUSED');
            }
            break;
          case 'release':
            end(one(open(), a), (got) => got.connection?.release(b % 2 === 0 ? null : b * 100));
            break;
          case 'discard':
            end(one(open(), a), (got) => got.connection?.discard(false));
            break;
          case 'break':
            end(one(open(), a), (got) => {
              (got.connection!.stream as { closed: boolean }).closed = true;
              got.connection?.discard(true);
            });
            break;
          case 'cancel': {
            const waiting = one(
              all.filter(({ got, cancelled }) => got.answers === 0 && !cancelled),
              a,
            );
            waiting?.got.ticket.cancel();
            if (waiting !== undefined) waiting.cancelled = true;
            break;
          }
          case 'pass':
            pass((a % 5) * 700);
            break;
          case 'verdict':
            upstreams.setVerdict('shop', address, b % 2 === 0);
            break;
          case 'remote':
            if (b % 2 === 0) upstreams.applyRemoteRecovered('shop', address);
            else upstreams.applyRemoteFailures([{ service: 'shop', address, count: b % 3 }]);
            break;
          case 'resolve':
            upstreams.setResolved('app.internal', ['10.1.0.1', '10.1.0.2', '10.1.0.3'].slice(0, 1 + (b % 3)));
            break;
          case 'table':
            table = one(tables, a)!;
            upstreams.setService('shop', table);
            break;
          case 'answers': {
            const status = one([200, 500, 503, 404], b)!;
            one(open(), a)?.got.connection?.signals?.answered(status, b % 2 === 0 ? b * 10 : -1);
            break;
          }
          case 'signals':
            upstreams.applyRemoteFailures([
              { service: 'shop', address, count: 0, status5xx: b % 3, ejectedMs: b % 4 === 0 ? 3_000 : 0 },
            ]);
            break;
          case 'keys':
            upstreams.setCookieKeys(one(['k1,k2', 'k2,k3,k1', null], a) ?? null);
            break;
          case 'gone':
            if (b % 4 === 0) upstreams.setService('shop', null);
            break;
          case 'idle-ends': {
            const stream = one(
              connector.streams.filter((candidate) => !candidate.closed),
              a,
            );
            if (stream !== undefined && !open().some(({ got }) => got.connection!.stream === stream)) {
              stream.handler.onEnd();
            }
            break;
          }
        }
        for (const { got } of all) {
          const cookie = got.connection?.setCookie;
          if (cookie && cookies.length < 20) cookies.push(cookie);
        }
        const lent = open().map(({ got }) => got.connection!.stream);
        assert.equal(new Set(lent).size, lent.length, 'a connection is lent to one at a time');
        for (const { active, tunnels, idle } of upstreams.status()) {
          assert.ok(active >= 0 && tunnels >= 0 && idle >= 0);
        }
      }

      // Everybody ends; then nothing is under way, nobody waits and only idle connections are open.
      for (const entry of all) entry.got.ticket.cancel();
      for (const entry of open()) end(entry, (got) => got.connection?.release(null));
      while (connector.pending.length > 0) connector.fail();
      for (const entry of all)
        assert.ok(entry.got.answers <= 1 && !(entry.cancelled && entry.got.answers > 0));
      assert.equal(upstreams.waiting, 0);
      const addresses = new Map(upstreams.status().map((status) => [status.address, status]));
      let idle = 0;
      for (const status of addresses.values()) {
        assert.deepEqual([status.active, status.tunnels], [0, 0]);
        idle += status.idle;
      }
      assert.equal(connector.streams.filter((stream) => !stream.closed).length, idle);
      upstreams.close();
      assert.equal(connector.streams.filter((stream) => !stream.closed).length, 0);
      assert.equal(connector.pending.length, 0);
      assert.equal(timers.size, 0);
    }),
    { numRuns: 400 },
  );
});
