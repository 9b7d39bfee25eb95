import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveLimits } from '../../shared/model/settings.ts';
import { withProxy } from './harness.ts';
import type { Wire } from './wire.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const limits = resolveLimits({
  limits: { headSize: 0, headTimeout: 0, bodyIdle: 0, keepAlive: 0, bodyRate: 0 },
});
const service = { timeouts: { connect: 0, firstByte: 0, idle: 0 } };

describe('limits of 0', () => {
  it('limit nothing: neither heads nor bodies, answers nor pauses', () =>
    withProxy({ limits, service }, async (proxy) => {
      const client = await proxy.client();
      let backend: Wire | null = null;
      let sent = 0;
      const send = async (text: string) => {
        client.write(text);
        sent += text.length;
        await proxy.settled(() => proxy.received === sent, 'the bytes');
      };
      for (let turn = 0; turn < 2; turn++) {
        await send('POST / HTTP/1.1\r\n');
        proxy.passTime(600_000);
        await send(`Host: a\r\nX-Long: ${'x'.repeat(50_000)}\r\nContent-Length: 2\r\n\r\na`);
        backend ??= await proxy.backend.connection();
        await backend.readHead();
        proxy.passTime(600_000);
        await send('b');
        assert.equal(await backend.readBytes(2), 'ab');
        proxy.passTime(600_000);
        backend.write(OK.slice(0, -1));
        await client.until(() => client.rest.endsWith('o'), 'the first byte');
        proxy.passTime(600_000);
        backend.write('k');
        assert.equal((await client.readMessage()).status, 200);
        await proxy.record(turn + 1);
        proxy.passTime(600_000);
      }
      assert.equal(client.ended, null);
    }));
});
