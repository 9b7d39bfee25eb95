import assert from 'node:assert/strict';
import { it } from 'node:test';
import { withProxy } from './harness.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';

it('a body that is refused while its head waits to be sent leaves nothing to the next one', () =>
  withProxy({ limits: { body: 10 } }, async (proxy) => {
    const [uploader, refused] = [await proxy.client(), await proxy.client()];
    // A connection to the backend that stands ready, so that the refused request is composed at once.
    uploader.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const first = await proxy.backend.connection();
    await first.readHead();
    refused.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const second = await proxy.backend.connection();
    await second.readHead();
    for (const wire of [first, second]) wire.write(OK);
    await uploader.readMessage();
    await refused.readMessage();
    uploader.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n');
    await proxy.settled(() => /PUT/.test(first.rest + second.rest), 'the head of the upload');
    refused.write('POST /evil HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n');
    assert.equal((await refused.readMessage()).status, 413);
    uploader.write('abcde');
    const wire = /PUT/.test(first.rest) ? first : second;
    await wire.readHead();
    assert.equal(await wire.readBytes(5), 'abcde');
  }));
