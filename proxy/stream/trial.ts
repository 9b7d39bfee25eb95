/** How a variant of sockets is tried out: streams over loopback whose every step is waited for. */
import { once } from 'node:events';
import type net from 'node:net';
import { type ByteStream, type ByteStreamHandler, IGNORE } from './byte-stream.ts';

/** More pieces than one system call takes, more bytes than sockets of usual size buffer. */
const PIECES = 2_048;
export const PIECE = Buffer.alloc(4_096, 'x');

/** Runs a trial with a listening server; false when it throws or does not end in time. What it opens is closed. */
export async function passes(
  create: () => net.Server,
  trial: (server: net.Server, open: Trial[]) => Promise<void>,
  timeoutMs: number,
): Promise<boolean> {
  const server = create();
  const open: Trial[] = [];
  let timer: NodeJS.Timeout | undefined;
  try {
    server.listen(0, '127.0.0.1');
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('too late')), timeoutMs);
    });
    const whole = once(server, 'listening').then(() => trial(server, open));
    await Promise.race([whole, late]);
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    for (const { stream } of open) stream.reset();
    server.close();
  }
}

/** Bytes both ways, back-pressure and a large write in many pieces of `client`, half-close. */
export async function tryBytes(client: Trial, accepted: Trial): Promise<void> {
  check(accepted.stream.remoteAddress === '127.0.0.1' && accepted.stream.remotePort > 0);
  client.stream.write(PIECE);
  await accepted.until(() => accepted.bytes === PIECE.length);
  accepted.stream.write(PIECE);
  await client.until(() => client.bytes === PIECE.length);

  accepted.stream.pause();
  check(!client.stream.writeAll(new Array(PIECES).fill(PIECE)));
  check(client.stream.pendingBytes > 0);
  accepted.stream.resume();
  await accepted.until(() => accepted.bytes === (PIECES + 1) * PIECE.length);
  await client.until(() => client.drained);
  check(client.stream.pendingBytes === 0);

  client.stream.end();
  await accepted.until(() => accepted.ended);
  accepted.stream.write(PIECE);
  await client.until(() => client.bytes === 2 * PIECE.length);
  accepted.stream.end();
  await client.until(() => client.ended && client.closedWith === null);
  await accepted.until(() => accepted.closedWith === null);
}

/** Notes what happens on a stream, and wakes who waits for it. */
export class Trial implements ByteStreamHandler {
  readonly stream: ByteStream;
  bytes = 0;
  ended = false;
  drained = false;
  closedWith: Error | null | undefined = undefined;
  #wake: () => void = () => {};

  constructor(stream: ByteStream) {
    this.stream = stream;
    stream.handler = this;
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      check(this.closedWith === undefined);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  onData(buffer: Buffer, start: number, end: number): void {
    // What arrives is the letter that was sent, wherever it is received.
    check(buffer[start] === PIECE[0] || buffer[start] === 63);
    this.bytes += end - start;
    this.#wake();
  }
  onEnd(): void {
    this.ended = true;
    this.#wake();
  }
  onDrain(): void {
    this.drained = true;
    this.#wake();
  }
  onClose(error: Error | null): void {
    this.closedWith = error;
    this.stream.handler = IGNORE;
    this.#wake();
  }
}

export function check(holds: boolean): void {
  if (!holds) throw new Error('the trial of sockets failed');
}

export function portOf(server: net.Server): number {
  return (server.address() as net.AddressInfo).port;
}
