import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { systemClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { serviceEntry, tableOf } from '../../shared/routing/fixtures.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { HealthVerdict } from '../link/messages.ts';
import { BackendWatch } from './backend-watch.ts';
import { until } from './scripted-primary.ts';

test('a new process is told who is dead, one that is loaded again who is alive, too', async (t) => {
  const server = net.createServer((socket) => socket.on('error', () => {}));
  const closed = net.createServer();
  for (const each of [server, closed]) {
    each.listen(0, '127.0.0.1');
    await once(each, 'listening');
  }
  const addressOf = (of: net.Server) => `127.0.0.1:${(of.address() as net.AddressInfo).port}`;
  const [alive, dead] = [addressOf(server), addressOf(closed)];
  closed.close();
  t.after(() => server.close());
  const keys = { '1': { backends: [{ address: alive }, { address: dead }] } };
  const health = { type: 'tcp', interval: 100, rise: 1, fall: 1, jitter: 0 };
  const told: HealthVerdict[] = [];
  const watch = new BackendWatch({
    settings: {
      api: { port: 0 },
      data: '.',
      internal: null,
      mongoUrl: null,
      redisUrl: null,
    } as SettingsOfProcess,
    table: tableOf([serviceEntry('shop', { keys, health })]),
    clock: systemClock,
    log: silentLog,
    broadcast: (message) => {
      if (message.type === 'health') told.push(...message.verdicts);
    },
    isDrained: async () => false,
    changed: () => {},
  });
  t.after(() => watch.close());
  await watch.follow(['shop']);
  await until('both were decided', () => told.length >= 2);
  const snapshot = (again: boolean) =>
    [...watch.snapshot(again)].flatMap((message) => (message.type === 'health' ? message.verdicts : []));
  assert.deepEqual(
    snapshot(false).map(({ address, alive }) => [address, alive]),
    [[dead, false]],
  );
  assert.deepEqual(
    snapshot(true).map(({ address, alive }) => [address, alive]),
    [
      [alive, true],
      [dead, false],
    ],
  );
});
