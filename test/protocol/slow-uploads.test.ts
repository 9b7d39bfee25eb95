import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ByteStream } from '../../proxy/stream/byte-stream.ts';
import { ProxiedStream } from '../../proxy/tunnel/proxied-stream.ts';
import type { ConnectOutcome, Connector } from '../../proxy/upstream/connector.ts';
import { realConnector } from './endings.ts';
import { withProxy } from './harness.ts';

const NOBODY = { address: '', port: 0 };

/** A connection that says after every write that it takes no more, until the test lets it go on. */
class Reluctant extends ProxiedStream {
  held = true;

  constructor(below: ByteStream) {
    super(below, { source: NOBODY, destination: NOBODY });
  }

  override writeShared(buffer: Buffer, start: number, end: number): boolean {
    const below = super.writeShared(buffer, start, end);
    return this.held ? false : below;
  }

  letGo(): void {
    this.held = false;
    this.handler.onDrain();
  }
}

/** Connects when the test says so. */
class LateConnector implements Connector {
  begin: () => void = () => {};
  readonly streams: Reluctant[] = [];

  connect(
    ...[target, identity, outcome]: Parameters<Connector['connect']>
  ): ReturnType<Connector['connect']> {
    this.begin = () => {
      const reluctant: ConnectOutcome = {
        onConnected: (stream) => {
          const made = new Reluctant(stream);
          this.streams.push(made);
          outcome.onConnected(made);
        },
        onConnectFailed: (error) => outcome.onConnectFailed(error),
      };
      realConnector.connect(target, identity, reluctant);
    };
    return { abort() {} };
  }
}

it('a backend that takes no more than what was kept for it holds the upload back', () => {
  const connector = new LateConnector();
  return withProxy({ connector }, async (proxy) => {
    const client = await proxy.client();
    const size = 4_000_000;
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\nabc`);
    await proxy.settled(() => proxy.received > 0, 'the first bytes');
    connector.begin();
    await proxy.settled(() => connector.streams.length === 1, 'the connection');
    client.write(Buffer.alloc(size - 3, 'x'));
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(proxy.received < 200_000, `${proxy.received} bytes were read`);
    connector.streams[0]?.letGo();
    const backend = await proxy.backend.connection();
    assert.equal((await backend.readMessage()).body.length, size);
    backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    assert.equal((await client.readMessage()).status, 200);
    await proxy.idle();
  });
});
