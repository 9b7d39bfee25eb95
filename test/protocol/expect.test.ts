import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';

const POST = 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n';

describe('interim answers', () => {
  it("Expect is passed on, the backend's 100 is relayed, then the body", () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(POST);
      const backend = await proxy.backend.connection();
      assert.match(await backend.readHead(), /\r\nExpect: 100-continue\r\n/);
      backend.write('HTTP/1.1 100 Continue\r\n\r\n');
      assert.equal(await client.readHead(), 'HTTP/1.1 100 Continue\r\n\r\n');
      client.write('hello');
      assert.equal(await backend.readBytes(5), 'hello');
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      const answer = await client.readMessage();
      assert.equal(answer.status, 200);
      assert.equal(answer.fields.has('connection'), false);
    }));

  it('a final answer instead of 100 is relayed, and what follows is not taken for a request', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(POST);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
      const answer = await client.readMessage();
      assert.equal(answer.status, 413);
      assert.equal(answer.fields.get('connection'), 'close');
      client.write('GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n');
      assert.equal(await client.readToEnd(), '');
      await backend.readToEnd();
      assert.equal(proxy.records.length, 1);
      assert.doesNotMatch(backend.received, /smuggled/);
    }));

  it('several interim answers are relayed with their fields', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write(
        'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 3\r\nConnection: x\r\n\r\n',
      );
      assert.equal(await client.readHead(), 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n');
      backend.write('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await client.readMessage()).status, 102);
      assert.equal((await client.readMessage()).body, 'ok');
    }));

  it('a client that waits for 100 is not hurried while the backend thinks, the backend is', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(POST);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      proxy.passTime(45_000);
      backend.write('HTTP/1.1 100 Continue\r\n\r\n');
      await client.readHead();
      proxy.passTime(29_000);
      assert.equal(client.ended, null);
      proxy.passTime(2_000);
      assert.equal((await client.readMessage()).status, 408);
    }));

  it('the time that it waited for 100 does not count as time in which it sent too little', () =>
    withProxy({ service: { timeouts: { firstByte: '10m' } } }, async (proxy) => {
      const client = await proxy.client();
      client.write(POST);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      proxy.passTime(120_000);
      backend.write('HTTP/1.1 100 Continue\r\n\r\n');
      await client.readHead();
      client.write('he');
      await backend.readBytes(2);
      client.write('llo');
      await backend.readBytes(3);
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      assert.equal((await client.readMessage()).status, 200);
    }));

  for (const [what, interim] of [
    ['nor anything', ''],
    ['but another interim answer', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
  ] as const) {
    it(`a backend that answers neither 100 ${what} times out`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(POST);
        const backend = await proxy.backend.connection();
        await backend.readHead();
        if (interim !== '') {
          backend.write(interim);
          await client.readHead();
        }
        proxy.passTime(61_000);
        const answer = await client.readMessage();
        assert.equal(answer.status, 504);
        assert.equal(answer.fields.get('connection'), 'close');
        await backend.readToEnd();
      }));
  }
});
