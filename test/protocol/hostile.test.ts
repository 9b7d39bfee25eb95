import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';

const HEAD = 'POST / HTTP/1.1\r\nHost: example.com\r\n';

/** Odd but valid framing fields of a visitor, and how the backend has to see them. */
const ODD_FRAMING: Readonly<Record<string, readonly [field: string, body: string, plain: string]>> = {
  'a tab before chunked': [
    'Transfer-Encoding:\tchunked',
    '2\r\nab\r\n0\r\n\r\n',
    'Transfer-Encoding: chunked',
  ],
  'a space and a tab before chunked': [
    'Transfer-Encoding: \tchunked',
    '2\r\nab\r\n0\r\n\r\n',
    'Transfer-Encoding: chunked',
  ],
  'nothing before chunked': [
    'Transfer-Encoding:chunked',
    '2\r\nab\r\n0\r\n\r\n',
    'Transfer-Encoding: chunked',
  ],
  'a space after chunked': [
    'Transfer-Encoding: chunked ',
    '2\r\nab\r\n0\r\n\r\n',
    'Transfer-Encoding: chunked',
  ],
  'a tab after the length': ['Content-Length: 2\t', 'ab', 'Content-Length: 2'],
  'two spaces before the length': ['Content-Length:  2', 'ab', 'Content-Length: 2'],
  'zeros before the length': ['Content-Length: 0002', 'ab', 'Content-Length: 2'],
  'two zeros as the length': ['Content-Length: 00', '', 'Content-Length: 0'],
};

describe('a framing field that backends could read in two ways is written plainly', () => {
  for (const [what, [field, body, plain]] of Object.entries(ODD_FRAMING)) {
    it(what, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(`${HEAD}X-Before: 1\r\n${field}\r\nX-After: 2\r\n\r\n${body}`);
        const backend = await proxy.backend.connection();
        const message = await backend.readMessage();
        const lines = message.head.split('\r\n');
        const framing = lines.filter((line) => /^(transfer-encoding|content-length)/i.test(line));
        assert.deepEqual(framing, [plain]);
        assert.ok(lines.includes('X-Before: 1') && lines.includes('X-After: 2'), message.head);
        assert.equal(message.body, body);
        backend.write('HTTP/1.1 204 No Content\r\n\r\n');
        assert.equal((await client.readMessage()).status, 204);
        await proxy.idle();
      }),
    );
  }
});
