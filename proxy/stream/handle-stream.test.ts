import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { acceptStreams } from './accept.ts';
import type { ByteStream } from './byte-stream.ts';
import { setFailureReport } from './deadlines.ts';
import { connectHandle, type SocketTarget } from './handle-connect.ts';
import { wrapHandle } from './handle-stream.ts';
import { type NativeHandle, type SocketInternals, socketInternals } from './internals.ts';
import { chooseSocketVariant } from './socket-variant.ts';
import { accepting, conformance, connecting, dial, loopback, portOf, until } from './stream-conformance.ts';

const node = socketInternals() as SocketInternals;
let folder: string;
let sockets = 0;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'stream-'));
});
after(() => rmSync(folder, { recursive: true }));

const listenOnPath = (server: net.Server) => server.listen(join(folder, `socket${sockets++}`));

function connect(target: SocketTarget): Promise<ByteStream> {
  return new Promise((onConnected, onConnectFailed) => {
    connectHandle(node, target, { onConnected, onConnectFailed });
  });
}

conformance(
  'handle, accepted',
  accepting(loopback, (server, on) => acceptStreams(server, on, 'handle'), dial),
  { lastWords: true },
);
conformance(
  'handle, connected',
  connecting((server) => connect({ type: 'tcp', host: '127.0.0.1', port: portOf(server) })),
  { lastWords: true },
);
conformance(
  'handle, accepted on a Unix socket',
  accepting(
    listenOnPath,
    (server, on) => acceptStreams(server, on, 'handle'),
    (server) => net.connect({ path: String(server.address()), allowHalfOpen: true }),
  ),
  { pipe: true },
);
conformance(
  'handle, connected to a Unix socket',
  connecting((server) => connect({ type: 'unix', path: String(server.address()) }), listenOnPath),
  { pipe: true },
);

describe('connecting without net.Socket', () => {
  it('says why it could not, later', async () => {
    const server = loopback(net.createServer());
    await once(server, 'listening');
    const port = portOf(server);
    server.close();
    await once(server, 'close');
    await assert.rejects(connect({ type: 'tcp', host: '127.0.0.1', port }), {
      code: 'ECONNREFUSED',
      syscall: 'connect',
      message: `connect ECONNREFUSED 127.0.0.1:${port}`,
    });
    await assert.rejects(connect({ type: 'unix', path: join(folder, 'nothing') }), { code: 'ENOENT' });
    await assert.rejects(connect({ type: 'tcp', host: 'not an address', port }), { code: 'EINVAL' });
  });

  it('reports nothing after it was given up, and frees the descriptor', async () => {
    const server = loopback(net.createServer());
    await once(server, 'listening');
    let accepted = 0;
    server.on('connection', (socket) => {
      socket.on('error', () => {});
      socket.on('close', () => accepted++);
      socket.resume();
    });
    const outcome = {
      onConnected: () => assert.fail('connected'),
      onConnectFailed: () => assert.fail('failed'),
    };
    const pending = connectHandle(node, { type: 'tcp', host: '127.0.0.1', port: portOf(server) }, outcome);
    pending.abort();
    pending.abort();
    // A second connection behind it shows that the first one is through.
    (await connect({ type: 'tcp', host: '127.0.0.1', port: portOf(server) })).close(0);
    await once(server, 'connection');
    server.close();
    await once(server, 'close');
    assert.ok(accepted >= 1);
  });
});

describe('connecting', () => {
  it('an exception of the owner is reported and ends what was connected', async () => {
    const server = loopback(net.createServer({ allowHalfOpen: true }));
    await once(server, 'listening');
    const failures: unknown[] = [];
    setFailureReport((failure) => failures.push(failure));
    const boom = new Error('boom');
    let stream: ByteStream | null = null;
    const accepted = once(server, 'connection');
    connectHandle(
      node,
      { type: 'tcp', host: '127.0.0.1', port: portOf(server) },
      {
        onConnected(connected) {
          stream = connected;
          throw boom;
        },
        onConnectFailed: () => assert.fail('failed'),
      },
    );
    const [peer] = (await accepted) as [net.Socket];
    peer.on('error', () => {});
    await until(() => stream?.closed === true, 'the close');
    assert.deepEqual(failures, [boom]);
    await until(() => peer.destroyed || peer.resume().readableEnded, 'the peer to notice');
    peer.destroy();
    server.close();
  });
});

describe('a handle', () => {
  it('lets go of its stream when that has closed, since the collector takes handles for live', async () => {
    const server = loopback(net.createServer({ allowHalfOpen: true }));
    await once(server, 'listening');
    const seen: { handle: NativeHandle; closed: boolean }[] = [];
    (
      server as unknown as { _handle: { onconnection: (error: number, handle: NativeHandle) => void } }
    )._handle.onconnection = (_, handle) => {
      const one = { handle, closed: false };
      seen.push(one);
      const stream = wrapHandle(node, handle);
      stream.handler = {
        onData: () => (seen.length === 1 ? stream.close(0) : stream.reset()),
        onEnd() {},
        onDrain() {},
        onClose() {
          one.closed = true;
        },
      };
    };
    for (const count of [1, 2]) {
      const peer = dial(server);
      peer.on('error', () => {});
      peer.write('x');
      await until(() => seen.length === count && seen[count - 1]!.closed, 'the close');
      assert.equal(seen[count - 1]!.handle.owner, null);
      peer.destroy();
    }
    server.close();
  });
});

describe('the choice of sockets', () => {
  it('takes handles where this Node has them as they are known', async () => {
    assert.equal(await chooseSocketVariant(), 'handle');
  });

  it('falls back to sockets of Node where there are no handles, or other ones', async () => {
    assert.equal(await chooseSocketVariant('auto', null), 'onread');
    const failing = () => {
      throw new Error('not like this');
    };
    assert.equal(await chooseSocketVariant('auto', { ...node, makeTcp: failing }), 'onread');
    // The index of something else: every write looks as if it had not been done at once.
    assert.equal(
      await chooseSocketVariant('auto', { ...node, lastWriteWasAsync: node.readBytes }, 200),
      'onread',
    );
  });

  it('takes nothing faster than it is told to', async () => {
    assert.equal(await chooseSocketVariant('onread'), 'onread');
    assert.equal(await chooseSocketVariant('net'), 'net');
  });
});
