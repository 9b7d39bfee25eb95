import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { run } from './export.ts';
import { said } from './said-for-test.ts';

/** What `kontrol export` prints of what `answer` sends, and what it asked for. */
async function printed(answer: (response: ServerResponse) => void, ...args: string[]) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const { code, out } = await said(() => run([...args, '--url', url, '--token', 't']));
    return { code, out, asked };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const OBJECTS = [
  { kind: 'service', name: 'a', labels: { text: 'two\nlines, ünicode' } },
  { kind: 'page', name: 'b', templates: { error: 'x'.repeat(200_000) } },
  { kind: 'domain', name: 'c.test' },
];

/** In pieces that end anywhere, also inside a character. */
function sendInPieces(response: ServerResponse): void {
  const bytes = Buffer.from(OBJECTS.map((object) => `${JSON.stringify(object)}\n`).join(''));
  for (let at = 0; at < bytes.length; at += 4_999) response.write(bytes.subarray(at, at + 4_999));
  response.end();
}

test('an export is printed object by object as YAML or as one list of JSON, whatever the pieces it comes in', async () => {
  const yaml = await printed(sendInPieces, '--owner', 'site', '--at', '7');
  assert.deepEqual(yaml.asked, ['/v1/export?format=lines&at=7&owner=site']);
  const documents = parseAllDocuments(yaml.out) as readonly { toJS(): unknown }[];
  assert.deepEqual(
    documents.map((document) => document.toJS()),
    OBJECTS,
  );
  const json = await printed(sendInPieces, '--json');
  assert.equal(json.out, `${JSON.stringify(OBJECTS, null, 2)}\n`);
});

test('an empty export prints nothing, or an empty list', async () => {
  assert.equal((await printed((response) => response.end())).out, '');
  assert.equal((await printed((response) => response.end(), '--json')).out, '[]\n');
});

test('an export that breaks off or is refused is told, and never looks complete', async () => {
  await assert.rejects(
    printed((response) => {
      response.write(`${JSON.stringify(OBJECTS[0])}\n`, () => response.destroy());
    }),
    /kontrolapi at .* broke off in the middle of its answer/,
  );
  const trimmed = { code: 'history_trimmed', detail: 'it begins with revision 5' };
  const refused = await printed(
    (response) => response.writeHead(410).end(JSON.stringify(trimmed)),
    '--at',
    '1',
  );
  assert.deepEqual([refused.code, refused.out], [1, '']);
});
