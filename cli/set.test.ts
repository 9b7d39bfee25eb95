import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { parseFields, run } from './set.ts';

/** An API that holds one domain, which somebody else changes before the first writes arrive. */
async function withDomain(
  domain: Readonly<Record<string, unknown>>,
  otherWrites: number,
  use: (set: (...fields: string[]) => Promise<number>) => Promise<void>,
): Promise<readonly unknown[]> {
  let rev = 1;
  const written: unknown[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const say = (status: number, body: object) =>
      response.writeHead(status, { etag: `"${rev}"`, 'kontrol-seq': '7' }).end(JSON.stringify(body));
    if (request.method === 'GET') return say(200, domain);
    if (rev <= otherWrites) rev++;
    const wanted = request.headers['if-match'];
    if (wanted !== undefined && wanted !== `"${rev}"`) return say(412, { detail: 'changed' });
    written.push([wanted ?? null, JSON.parse(text)]);
    return say(200, {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await use((...fields) => run(['domain', 'a.test', ...fields, '--url', url, '--token', 't', '--json']));
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return written;
}

test('what is made out of the present object is made anew when somebody else was faster', async () => {
  const written = await withDomain(
    { routes: [{ path: ['/'], service: 'old', priority: 3 }] },
    2,
    async (set) => {
      assert.equal(await set('service=new'), 0);
      assert.equal(await set('mode=off'), 0);
    },
  );
  assert.deepEqual(written, [
    ['"3"', { routes: [{ path: ['/'], service: 'new', priority: 3 }] }],
    [null, { mode: 'off' }],
  ]);
});

test('the short form of a route changes only a route for every path', async () => {
  const written = await withDomain({ routes: [{ path: '/api', service: 'old' }] }, 0, async (set) => {
    await assert.rejects(set('service=new'), /only route of the domain is for \/api, not for every path/);
  });
  assert.deepEqual(written, []);
});

test('values are JSON where they can be, but labels are the text that was typed', () => {
  assert.deepEqual(parseFields(['weight=2', 'labels.build=42', 'labels.stage=prod', 'labels.old=null']), {
    weight: 2,
    labels: { build: '42', stage: 'prod', old: null },
  });
  assert.deepEqual(parseFields(['labels.quoted="null"', 'labels={"a": "1"}', 'keys.1=null']), {
    labels: { a: '1' },
    keys: { 1: null },
  });
  assert.deepEqual(parseFields(['labels.quoted="null"']), { labels: { quoted: 'null' } });
});
