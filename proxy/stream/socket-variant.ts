/**
 * Finds out which variant of sockets works in this Node: each is tried over loopback before anything is made of it,
 * the cheapest first. What fails, or takes too long, is not used by this process.
 */
import { once } from 'node:events';
import net from 'node:net';
import { acceptStreams, type SocketVariant } from './accept.ts';
import type { ByteStream } from './byte-stream.ts';
import { connectHandle } from './handle-connect.ts';
import { type SocketInternals, socketInternals } from './internals.ts';
import { check, passes, portOf, Trial, tryBytes } from './trial.ts';

/** The cheapest variant that works, none beyond `most`. Never rejects; takes 10 ms where all is well. */
export async function chooseSocketVariant(
  most: SocketVariant | 'auto' = 'auto',
  known: SocketInternals | null = socketInternals(),
  timeoutMs = 2_000,
): Promise<SocketVariant> {
  if (most === 'net') return 'net';
  const node = most === 'onread' ? null : known;
  if (
    node !== null &&
    (await passes(createServer, (server, open) => tryHandles(node, server, open), timeoutMs))
  )
    return 'handle';
  if (await passes(createServer, tryOnread, timeoutMs)) return 'onread';
  return 'net';
}

function createServer(): net.Server {
  return net.createServer({ allowHalfOpen: true });
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

async function tryReset(client: Trial, accepted: Trial): Promise<void> {
  client.stream.reset();
  await client.until(() => client.closedWith === null);
  await accepted.until(() => accepted.closedWith !== undefined);
  check((accepted.closedWith as NodeJS.ErrnoException | null)?.code === 'ECONNRESET');
}

function connect(node: SocketInternals, port: number): Promise<ByteStream> {
  return new Promise((onConnected, onConnectFailed) => {
    connectHandle(node, { type: 'tcp', host: '127.0.0.1', port }, { onConnected, onConnectFailed });
  });
}
