/**
 * What every `ByteStream` promises, as one suite over all variants of sockets: each gives itself as a `Variant`, a
 * way to run a test with a stream, what happens on it, and the plain socket at its other end.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import { isOwnedBlock, ownedBlocks, returnBlock, takeBlock } from './blocks.ts';
import type { ByteStream, ByteStreamHandler } from './byte-stream.ts';
import { HIGH_WATER, setFailureReport, timers } from './deadlines.ts';
import { TimerWheel } from './timer-wheel.ts';

/** Keeps what happens on a stream, and fails on a call after the end. */
export class Recorder implements ByteStreamHandler {
  text = '';
  ended = false;
  drains = 0;
  closes: (Error | null)[] = [];
  onBytes: (() => void) | null = null;

  onData(buffer: Buffer, start: number, end: number): void {
    assert.equal(this.closes.length, 0, 'data after the close');
    assert.equal(this.ended, false, 'data after the end');
    this.text += buffer.toString('latin1', start, end);
    this.onBytes?.();
  }
  onEnd(): void {
    assert.equal(this.ended, false, 'a second end');
    this.ended = true;
  }
  onDrain(): void {
    this.drains++;
  }
  onClose(error: Error | null): void {
    this.closes.push(error);
  }
}

export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Time enough for whatever would happen by itself: what is there already is read within a few rounds. */
export async function rounds(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
}

interface Pair {
  readonly stream: ByteStream;
  readonly seen: Recorder;
  readonly peer: net.Socket;
}

export type Variant = (body: (pair: Pair) => Promise<void>) => Promise<void>;

/** A server whose one accepted connection becomes the stream. */
export function accepting(
  listen: (server: net.Server) => void,
  accept: (server: net.Server, onStream: (stream: ByteStream) => void) => void,
  connect: (server: net.Server) => net.Socket,
  create: () => net.Server = () => net.createServer({ allowHalfOpen: true }),
): Variant {
  return async (body) => {
    const server = create();
    listen(server);
    await once(server, 'listening');
    const accepted = new Promise<ByteStream>((resolve) => accept(server, resolve));
    const peer = connect(server);
    peer.on('error', () => {});
    const stream = await accepted;
    await until(
      () => !peer.connecting && !(peer instanceof tls.TLSSocket && !peer.encrypted),
      'the connection',
    );
    const seen = new Recorder();
    stream.handler = seen;
    try {
      await body({ stream, seen, peer });
    } finally {
      peer.destroy();
      stream.reset();
      server.close();
      await until(() => stream.closed, 'the stream to close');
    }
  };
}

/** The stream is the side that connected. */
export function connecting(
  connect: (server: net.Server) => Promise<ByteStream>,
  listen: (server: net.Server) => void = loopback,
): Variant {
  return async (body) => {
    const server = net.createServer({ allowHalfOpen: true });
    listen(server);
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const stream = await connect(server);
    const seen = new Recorder();
    stream.handler = seen;
    const [peer] = (await accepted) as [net.Socket];
    peer.on('error', () => {});
    try {
      await body({ stream, seen, peer });
    } finally {
      peer.destroy();
      stream.reset();
      server.close();
    }
  };
}

export const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port;
export const loopback = (server: net.Server): net.Server => server.listen(0, '127.0.0.1');
export const dial = (server: net.Server): net.Socket =>
  net.connect({ port: portOf(server), host: '127.0.0.1', allowHalfOpen: true });

/** Something of ours, or of Node, fails while the stream's next deadline is handled: it cannot set the one after. */
function breakNextDeadline(stream: ByteStream, error: Error): void {
  const patched = timers as { set: TimerWheel['set'] };
  patched.set = (timed, ms) => {
    if (timed !== (stream as unknown)) {
      TimerWheel.prototype.set.call(timers, timed, ms);
      return;
    }
    delete (patched as Partial<typeof patched>).set;
    throw error;
  };
}

/** Where a variant differs in what it can promise. */
export interface Traits {
  readonly tls?: true;
  /** A Unix socket: no addresses, no resets. */
  readonly pipe?: true;
  /** Reads what a peer said before it refused our bytes. */
  readonly lastWords?: true;
}

export function conformance(name: string, variant: Variant, traits: Traits = {}): void {
  const isTls = traits.tls ?? false;
  const isPipe = traits.pipe ?? false;

  describe(`stream: ${name}`, () => {
    it('carries bytes both ways', () =>
      variant(async ({ stream, seen, peer }) => {
        peer.write('hello');
        await until(() => seen.text === 'hello', 'the bytes');
        const got = once(peer, 'data');
        assert.equal(stream.write(Buffer.from('answer')), true);
        assert.equal(String((await got)[0]), 'answer');
        if (!isPipe) assert.match(stream.remoteAddress, /127\.0\.0\.1$/);
        assert.equal(stream.tls !== null, isTls);
      }));

    it('says stop above the mark and calls when it has drained; nothing is lost or reordered', () =>
      variant(async ({ stream, seen, peer }) => {
        const sent = createHash('sha256');
        const block = takeBlock();
        let count = 0;
        peer.pause();
        const send = (buffer: Buffer): boolean => {
          buffer.fill(count++ % 251, 0, 20_000);
          sent.update(buffer.subarray(0, 20_000));
          return stream.writeShared(buffer, 0, 20_000);
        };
        // The owner of a block that was kept takes another; one that was not kept may be written over at once.
        let below = true;
        while (below && isOwnedBlock(block)) below = send(block);
        const scratch = takeBlock();
        while (below) {
          below = send(scratch);
          scratch.fill(255);
        }
        assert.ok(stream.pendingBytes > HIGH_WATER);
        assert.ok(stream.pendingBytes < HIGH_WATER + 2 * 65_536);
        returnBlock(block);
        returnBlock(scratch);
        const received = createHash('sha256');
        let bytes = 0;
        peer.on('data', (chunk: Buffer) => {
          received.update(chunk);
          bytes += chunk.length;
        });
        peer.resume();
        await until(() => bytes === count * 20_000, 'all bytes');
        await until(() => seen.drains === 1, 'the drain');
        assert.equal(received.digest('hex'), sent.digest('hex'));
        assert.equal(stream.pendingBytes, 0);
      }));

    it('sends several pieces in order', () =>
      variant(async ({ stream, peer }) => {
        let text = '';
        peer.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        stream.writeAll([Buffer.from('a'), Buffer.from('bc'), Buffer.from('d')]);
        stream.write(Buffer.from('e'));
        await until(() => text === 'abcde', 'the bytes');
      }));

    it('after the end of the peer it still sends', () =>
      variant(async ({ stream, seen, peer }) => {
        peer.end('last');
        await until(() => seen.ended, 'the end');
        assert.equal(seen.text, 'last');
        const got = once(peer, 'data');
        stream.write(Buffer.from('still here'));
        assert.equal(String((await got)[0]), 'still here');
        stream.end();
        await until(() => seen.closes.length === 1, 'the close');
        assert.equal(seen.closes[0], null);
      }));

    it('after its own end it still receives', () =>
      variant(async ({ stream, seen, peer }) => {
        peer.resume();
        const ended = once(peer, 'end');
        stream.end();
        stream.end();
        await ended;
        peer.write('late');
        await until(() => seen.text === 'late', 'the bytes');
        assert.equal(stream.write(Buffer.from('ignored')), true);
      }));

    it('close sends what is pending, reports nothing but the close, once', () =>
      variant(async ({ stream, seen, peer }) => {
        let bytes = 0;
        peer.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        stream.write(Buffer.alloc(1_000_000));
        stream.close();
        stream.close();
        peer.write('unwanted');
        await once(peer, 'end');
        assert.equal(bytes, 1_000_000);
        peer.end();
        await until(() => seen.closes.length > 0, 'the close');
        assert.equal(seen.text, '');
        assert.equal(seen.ended, false);
        assert.equal(stream.closed, true);
        await rounds();
        assert.equal(seen.closes.length, 1);
      }));

    it('close does not wait for ever for a peer that stays', () =>
      variant(async ({ stream, seen, peer }) => {
        peer.resume();
        stream.close(50);
        await until(() => seen.closes.length === 1, 'the close');
      }));

    it('reset ends at once', () =>
      variant(async ({ stream, seen, peer }) => {
        let closed = false;
        peer.on('close', () => {
          closed = true;
        });
        peer.resume();
        let code: string | undefined;
        peer.on('error', (error: NodeJS.ErrnoException) => {
          code = error.code;
        });
        stream.reset();
        stream.reset();
        assert.equal(seen.closes.length, 0, 'no call from inside a method');
        assert.equal(stream.closed, true);
        await until(() => seen.closes.length === 1, 'the close');
        peer.end();
        await until(() => closed, 'the peer to notice');
        if (!isTls && !isPipe) assert.equal(code, 'ECONNRESET');
      }));

    for (const pending of [0, 10_000_000]) {
      it(`reset right after a close with ${pending} bytes pending frees the descriptor`, () =>
        variant(async ({ stream, seen, peer }) => {
          peer.pause();
          if (pending > 0) stream.write(Buffer.alloc(pending));
          stream.close();
          stream.reset();
          await until(() => seen.closes.length === 1, 'the close');
          assert.equal(stream.closed, true);
        }));
    }

    it('nothing arrives while it is paused', () =>
      variant(async ({ stream, seen, peer }) => {
        peer.write('a');
        await until(() => seen.text === 'a', 'the first');
        stream.pause();
        stream.pause();
        peer.write('b');
        await rounds();
        assert.equal(seen.text, 'a');
        stream.resume();
        await until(() => seen.text === 'ab', 'the second');
      }));

    it('pausing inside onData holds the rest back', () =>
      variant(async ({ stream, seen, peer }) => {
        seen.onBytes = () => stream.pause();
        peer.write(Buffer.alloc(1_000_000, 'x'));
        await until(() => seen.text.length > 0, 'the first piece');
        const first = seen.text.length;
        await rounds();
        assert.equal(seen.text.length, first);
        assert.ok(first <= 65_536);
        seen.onBytes = null;
        stream.resume();
        await until(() => seen.text.length === 1_000_000, 'the rest');
      }));

    if (!isTls && !isPipe) {
      it('a reset of the peer is an error, also while paused', () =>
        variant(async ({ stream, seen, peer }) => {
          peer.write('a');
          await until(() => seen.text === 'a', 'the first');
          stream.pause();
          peer.write('b');
          peer.resetAndDestroy();
          await until(() => seen.closes.length === 1, 'the close');
          assert.ok(seen.closes[0] instanceof Error);
        }));
    }

    if (traits.lastWords) {
      it('last words of a peer are heard, although a write to it failed before', () =>
        variant(async ({ stream, seen, peer }) => {
          stream.pause();
          peer.write('go away');
          const gone = new Promise((resolve) => peer.on('close', resolve));
          peer.destroySoon();
          await gone;
          // The first bytes are answered by a reset, later ones cannot be written.
          await until(() => {
            stream.write(Buffer.from('more'));
            return seen.closes.length === 1;
          }, 'the close');
          assert.equal(seen.text, 'go away');
          assert.ok(seen.closes[0] instanceof Error);
        }));
    }

    it('a new handler gets what comes next', () =>
      variant(async ({ stream, seen, peer }) => {
        peer.write('a');
        await until(() => seen.text === 'a', 'the first');
        const next = new Recorder();
        stream.handler = next;
        peer.end('b');
        await until(() => next.ended, 'the end');
        assert.deepEqual([seen.text, next.text, seen.ended], ['a', 'b', false]);
      }));

    it('a stream that has read all there was holds no block', () =>
      variant(async ({ seen, peer }) => {
        const before = ownedBlocks();
        peer.write(Buffer.alloc(3_000_000, 'x'));
        await until(() => seen.text.length === 3_000_000, 'all bytes');
        peer.write(Buffer.alloc(40_000, 'x'));
        await until(() => seen.text.length === 3_040_000, 'the last bytes');
        await until(() => ownedBlocks() === before, 'the block');
      }));

    it('bulk data arrives whole, and its block is given back', async () => {
      const before = ownedBlocks();
      await variant(async ({ seen, peer }) => {
        const data = Buffer.alloc(3_000_000);
        for (let i = 0; i < data.length; i++) data[i] = (i * 7) % 253;
        peer.write(data);
        await until(() => seen.text.length === data.length, 'all bytes');
        assert.ok(seen.text === data.toString('latin1'));
      });
      await until(() => ownedBlocks() === before, 'the blocks');
    });

    for (const call of ['onData', 'onEnd', 'onDrain', 'onClose'] as const) {
      it(`an exception in ${call} is reported, ends this stream and no other`, () =>
        variant(({ stream: other, seen, peer: otherPeer }) =>
          variant(async ({ stream, peer }) => {
            const failures: unknown[] = [];
            setFailureReport((failure) => failures.push(failure));
            const boom = new Error('boom');
            const own = new Recorder();
            own[call] = () => {
              throw boom;
            };
            stream.handler = own;
            peer.on('data', () => {});
            if (call === 'onData') peer.write('x');
            else if (call === 'onEnd') peer.end();
            else if (call === 'onClose') stream.reset();
            else {
              peer.pause();
              let below = true;
              while (below) below = stream.write(Buffer.alloc(65_536));
              peer.resume();
            }
            await until(() => failures.length > 0 && stream.closed, 'the report');
            assert.deepEqual(failures, [boom]);
            if (call !== 'onClose') await until(() => own.closes.length === 1, 'the close');
            otherPeer.write('fine');
            await until(() => seen.text === 'fine', 'the other stream');
            assert.equal(other.closed, false);
          }),
        ));
    }

    it('an exception at a deadline is reported and ends this stream; other deadlines of the tick pass', () =>
      variant(({ stream: other, seen, peer: otherPeer }) =>
        variant(async ({ stream, seen: own, peer }) => {
          const failures: unknown[] = [];
          setFailureReport((failure) => failures.push(failure));
          const boom = new Error('boom');
          peer.resume();
          otherPeer.resume();
          stream.close(50);
          other.close(50);
          breakNextDeadline(stream, boom);
          await until(() => own.closes.length === 1 && seen.closes.length === 1, 'both to close');
          assert.deepEqual(failures, [boom]);
        }),
      ));
  });
}
