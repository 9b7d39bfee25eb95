import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { ApiContext } from '../context.ts';
import { createRouter, finishRouter } from '../http/router.ts';
import { State } from '../revisions/view.ts';
import { exportOperations } from './export.ts';

/** The export over real HTTP of `count` pages with one and the same text, which costs no memory. */
async function exportOf(t: TestContext, count: number, characters: number) {
  const state = new State();
  const looked = { objects: 0 };
  const templates = { error: 'x'.repeat(characters) };
  for (let n = 0; n < count; n++) {
    const doc = {
      name: `p${n}`,
      // Read when it is written as JSON, and not before.
      get templates() {
        looked.objects++;
        return templates;
      },
    };
    state.put('page', `p${n}`, { rev: 1, doc });
  }
  const context = {
    present: { fresh: async () => state, seq: 7 },
    clock: systemClock,
  } as unknown as ApiContext;
  const app = createRouter({
    log: silentLog,
    identify: async () => ({ name: 'me', role: 'admin', service: null, user: null }),
    operations: exportOperations(context),
    onAnswer: () => {},
  });
  finishRouter(app, silentLog);
  const server = app.listen(0, '127.0.0.1');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  const ask = async (query = '', method = 'GET') => {
    const { port } = server.address() as AddressInfo;
    const request = get({ host: '127.0.0.1', port, path: `/v1/export${query}`, method });
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    return answer;
  };
  return { ask, looked };
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of answer.setEncoding('utf8')) text += piece;
  return text;
}

test('an export larger than any text can be is sent whole', async (t) => {
  const megabyte = 1_048_576;
  const { ask } = await exportOf(t, 540, megabyte);
  const answer = await ask();
  assert.equal(answer.statusCode, 200);
  let bytes = 0;
  let end = '';
  for await (const piece of answer) {
    bytes += piece.length;
    end = `${end}${piece.subarray(-10).toString()}`.slice(-10);
  }
  assert.ok(bytes > 540 * megabyte, `${bytes} bytes`);
  assert.ok(end.endsWith('"}}]}'), end);
});

test('an export is made only as fast as the client reads it', async (t) => {
  const { ask, looked } = await exportOf(t, 2_000, 65_536);
  const answer = await ask();
  // Nobody reads: what is made stops at what the buffers on the way hold.
  let before = -1;
  while (looked.objects !== before) {
    before = looked.objects;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(looked.objects < 1_000, `${looked.objects} objects were made for nobody`);
  answer.destroy();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.ok(looked.objects < 1_000, 'and nothing more is made when the client has left');
});

test('both forms of an export hold the same objects, and an empty one is one too', async (t) => {
  const { ask } = await exportOf(t, 3, 10);
  const json = JSON.parse(await textOf(await ask()));
  const lines = await ask('?format=lines');
  assert.deepEqual(
    [lines.headers['content-type'], lines.headers['kontrol-seq']],
    ['application/x-ndjson', '7'],
  );
  const text = await textOf(lines);
  assert.ok(text.endsWith('}\n'));
  const objects = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual({ seq: 7, objects }, json);
  assert.equal(objects.length, 3);
  const empty = await exportOf(t, 0, 0);
  assert.deepEqual(JSON.parse(await textOf(await empty.ask())), { seq: 7, objects: [] });
  assert.equal(await textOf(await empty.ask('?format=lines')), '');
  const owned = await ask('?owner=nobody');
  assert.deepEqual(JSON.parse(await textOf(owned)), { seq: 7, objects: [] });
  assert.equal(await textOf(await ask('', 'HEAD')), '');
});
