import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { describe, it } from 'node:test';
import { acceptStreams } from '../../proxy/stream/accept.ts';
import { TcpConnection, type TcpDecision } from '../../proxy/tunnel/tcp-tunnel.ts';
import { type TestProxy, VARIANT, withProxy } from './harness.ts';
import { Wire } from './wire.ts';

/** A TCP listener in front of the proxy's backends. */
async function withListener(
  options: { backends?: number; decide?: (proxy: TestProxy) => TcpDecision },
  body: (proxy: TestProxy, connect: () => Promise<Wire>, open: Set<TcpConnection>) => Promise<void>,
): Promise<void> {
  await withProxy({ backends: options.backends ?? 1, service: { protocol: 'tcp' } }, async (proxy) => {
    const server = net.createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const open = new Set<TcpConnection>();
    const wires: Wire[] = [];
    const forward: TcpDecision = {
      type: 'forward',
      service: proxy.service,
      key: proxy.service.keys.get(1)!,
      idleMs: null,
      prelude: null,
    };
    acceptStreams(
      server,
      (stream) => {
        const request = { listener: 'mysql', port: 3306, address: '127.0.0.1' };
        const decision = options.decide?.(proxy) ?? forward;
        open.add(
          new TcpConnection(stream, proxy.environment, request, decision, (closed) => open.delete(closed)),
        );
      },
      VARIANT,
    );
    try {
      await body(
        proxy,
        async () => {
          const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
          const wire = new Wire(socket);
          wires.push(wire);
          // A refusal may come before this end knows that it is connected.
          await wire.until(() => !socket.connecting || wire.closed, 'the connection');
          return wire;
        },
        open,
      );
    } finally {
      for (const wire of wires) wire.destroy();
      server.close();
    }
  });
}

/** What the kernel knows of one end of a connection, in the columns of /proc/net/tcp. */
function kernelsView(localPort: number, remotePort: number): string[] {
  const end = (port: number) => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const sockets = readFileSync('/proc/net/tcp', 'latin1').split('\n');
  const columns = sockets.map((line) => line.trim().split(/\s+/));
  return columns.find(
    ([, local, remote]) => local?.endsWith(end(localPort)) && remote?.endsWith(end(remotePort)),
  )!;
}

describe('TCP listeners', () => {
  it('carry bytes both ways, the backend may speak first', () =>
    withListener({}, async (proxy, connect) => {
      const client = await connect();
      const backend = await proxy.backend.connection();
      backend.write('greeting');
      assert.equal(await client.readBytes(8), 'greeting');
      client.write('login');
      assert.equal(await backend.readBytes(5), 'login');
      client.end();
      assert.equal(await backend.readToEnd(), '');
      backend.write('bye');
      backend.end();
      assert.equal(await client.readToEnd(), 'bye');
      const record = await proxy.record();
      assert.equal(record.protocol, 'tcp');
      assert.equal(record.endedBy, 'complete');
      assert.equal(record.backend, proxy.backend.address);
      assert.equal(record.bytesIn, 5);
      assert.equal(record.bytesOut, 11);
      assert.equal(proxy.activeRequests(), 0);
    }));

  it('go on to the next backend while connecting fails, with what the client said meanwhile', () =>
    withListener({ backends: 3 }, async (proxy, connect) => {
      proxy.backends[0]!.close();
      proxy.backends[1]!.close();
      for (let i = 0; i < 3; i++) {
        const client = await connect();
        client.write('hello');
        const backend = await proxy.backends[2]!.connection();
        assert.equal(await backend.readBytes(5), 'hello');
        client.reset();
        await backend.readToEnd();
      }
    }));

  it('reset the client when no backend is left', () =>
    withListener({}, async (proxy, connect) => {
      proxy.backend.close();
      const client = await connect();
      await client.readToEnd();
      assert.equal(client.ended, 'reset');
      const record = await proxy.record();
      assert.equal(record.cause, 'all_dead');
      assert.equal(record.bytesIn, 0);
    }));

  it('have the kernel ask now and then whether an idle backend is still there', () =>
    withListener({}, async (proxy, connect) => {
      await connect();
      const { socket } = await proxy.backend.connection();
      // Timer 2 of a connection on which nothing is under way asks that.
      await proxy.settled(
        () => kernelsView(socket.remotePort!, proxy.backend.port)[5]!.startsWith('02:'),
        'the timer that asks',
      );
    }));

  it('refuse by rule without touching a backend', () =>
    withListener(
      { decide: () => ({ type: 'refuse', cause: 'rule_blocked', rule: 'office' }) },
      async (proxy, connect) => {
        const client = await connect();
        await client.readToEnd();
        assert.equal(client.ended, 'reset');
        const record = await proxy.record();
        assert.equal(record.rule, 'office');
        assert.equal(proxy.backend.accepted.length, 0);
      },
    ));

  it('a client that only ended its side still gets the answer', () =>
    withListener({}, async (proxy, connect) => {
      const client = await connect();
      client.write('question');
      client.end();
      const backend = await proxy.backend.connection();
      assert.equal(await backend.readToEnd(), 'question');
      backend.write('answer');
      backend.end();
      assert.equal(await client.readToEnd(), 'answer');
    }));

  it('end after the idle time of the listener', () =>
    withListener(
      {
        decide: (proxy) => ({
          type: 'forward',
          service: proxy.service,
          key: proxy.service.keys.get(1)!,
          idleMs: 5_000,
          prelude: Buffer.from('PROXY UNKNOWN\r\n'),
        }),
      },
      async (proxy, connect) => {
        const client = await connect();
        const backend = await proxy.backend.connection();
        assert.equal(await backend.readBytes(15), 'PROXY UNKNOWN\r\n');
        client.write('x');
        await backend.readBytes(1);
        proxy.passTime(4_000);
        backend.write('y');
        await client.readBytes(1);
        proxy.passTime(4_000);
        assert.equal(client.ended, null);
        proxy.passTime(2_000);
        await client.readToEnd();
        await backend.readToEnd();
        assert.equal((await proxy.record()).endedBy, 'proxy');
      },
    ));

  it('end at once when the process stops', () =>
    withListener({}, async (proxy, connect, open) => {
      const client = await connect();
      const backend = await proxy.backend.connection();
      backend.write('x');
      await client.readBytes(1);
      for (const connection of open) connection.closeNow();
      await client.readToEnd();
      await backend.readToEnd();
      assert.equal(open.size, 0);
      assert.equal(proxy.activeRequests(), 0);
    }));
});

it('a TCP connection that cannot be given a backend for a failure of ours is ended and counted as gone', () =>
  withListener({}, async (proxy, connect) => {
    Object.assign(proxy.environment.upstreams, {
      acquire() {
        throw new Error('a defect of ours');
      },
    });
    const client = await connect();
    await client.readToEnd();
    assert.equal((await proxy.record()).cause, 'internal');
    assert.equal(proxy.opened, 0);
    assert.equal(proxy.errors.splice(0).length, 1);
  }));

it('a TCP connection is counted as gone when its record fails', () =>
  withListener({}, async (proxy, connect, open) => {
    proxy.environment.observer.record = () => {
      throw new Error('a defect of ours');
    };
    const client = await connect();
    client.write('hello');
    const backend = await proxy.backend.connection();
    await backend.until(() => backend.rest === 'hello', 'the first bytes');
    client.socket.resetAndDestroy();
    await proxy.settled(() => open.size === 0, 'the connection to end');
    assert.equal(proxy.opened, 0);
    assert.equal(proxy.errors.splice(0).length, 1);
  }));
