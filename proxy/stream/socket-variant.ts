/**
 * Finds out which variant of sockets works in this Node: each is tried over loopback before anything is made of it,
 * the cheapest first. What fails, or takes too long, is not used by this process.
 */
import { once } from 'node:events';
import net from 'node:net';
import { acceptStreams, type SocketVariant } from './accept.ts';
import { type ByteStream, type ByteStreamHandler, IGNORE } from './byte-stream.ts';
import { connectHandle } from './handle-connect.ts';
import { type SocketInternals, socketInternals } from './internals.ts';

/** More pieces than one system call takes, more bytes than sockets of usual size buffer. */
const PIECES = 2_048;
const PIECE = Buffer.alloc(4_096, 'x');

/** The cheapest variant that works, none beyond `most`. Never rejects; takes 10 ms where all is well. */
export async function chooseSocketVariant(
  most: SocketVariant | 'auto' = 'auto',
  known: SocketInternals | null = socketInternals(),
  timeoutMs = 2_000,
): Promise<SocketVariant> {
  if (most === 'net') return 'net';
  const node = most === 'onread' ? null : known;
  if (node !== null && (await passes((server, open) => tryHandles(node, server, open), timeoutMs)))
    return 'handle';
  if (await passes(tryOnread, timeoutMs)) return 'onread';
  return 'net';
}

/** Runs a trial with a listening server; false when it throws or does not end in time. What it opens is closed. */
async function passes(
  trial: (server: net.Server, open: Trial[]) => Promise<void>,
  timeoutMs: number,
): Promise<boolean> {
  const server = net.createServer({ allowHalfOpen: true });
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

async function tryOnread(server: net.Server, open: Trial[]): Promise<void> {
  const accepted = nextAccepted(server, open, 'onread');
  const client = net.connect(portOf(server), '127.0.0.1');
  client.on('error', () => {});
  try {
    client.write('?');
    const trial = await accepted;
    await trial.until(() => trial.bytes === 1);
    trial.stream.write(Buffer.from('!'));
    const [answer] = (await once(client, 'data')) as [Buffer];
    check(answer.toString() === '!');
    trial.stream.close();
  } finally {
    client.destroy();
  }
}

/** Bytes both ways, back-pressure, a large write in many pieces, half-close, reset, a refused connect. */
async function tryHandles(node: SocketInternals, server: net.Server, open: Trial[]): Promise<void> {
  const port = portOf(server);
  const pair = async (): Promise<[Trial, Trial]> => {
    const accepted = nextAccepted(server, open, 'handle');
    const connected = new Trial(await connect(node, port));
    open.push(connected);
    return [connected, await accepted];
  };
  await tryBytes(...(await pair()));
  await tryReset(...(await pair()));
  server.close();
  check((await connect(node, port).catch((error) => error.code)) === 'ECONNREFUSED');
}

function nextAccepted(server: net.Server, open: Trial[], variant: SocketVariant): Promise<Trial> {
  return new Promise((resolve) => {
    acceptStreams(
      server,
      (stream) => {
        const trial = new Trial(stream);
        open.push(trial);
        resolve(trial);
      },
      variant,
    );
  });
}

async function tryBytes(client: Trial, accepted: Trial): Promise<void> {
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

async function tryReset(client: Trial, accepted: Trial): Promise<void> {
  client.stream.reset();
  await client.until(() => client.closedWith === null);
  await accepted.until(() => accepted.closedWith !== undefined);
  check((accepted.closedWith as NodeJS.ErrnoException | null)?.code === 'ECONNRESET');
}

/** Notes what happens on a stream, and wakes who waits for it. */
class Trial implements ByteStreamHandler {
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

function connect(node: SocketInternals, port: number): Promise<ByteStream> {
  return new Promise((onConnected, onConnectFailed) => {
    connectHandle(node, { type: 'tcp', host: '127.0.0.1', port }, { onConnected, onConnectFailed });
  });
}

function check(holds: boolean): void {
  if (!holds) throw new Error('the trial of sockets failed');
}

function portOf(server: net.Server): number {
  return (server.address() as net.AddressInfo).port;
}
