/**
 * Finds out whether accepted TLS connections can be driven by their handles in this Node: tried over loopback, with a
 * key that both ends know in place of a certificate.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type net from 'node:net';
import tls from 'node:tls';
import type { SocketVariant } from './accept.ts';
import { wrapSocket } from './net-stream.ts';
import { type TlsVariant, wrapTlsSocket } from './tls-handle.ts';
import { check, PIECE, passes, portOf, Trial, tryBytes } from './trial.ts';

const KEY = randomBytes(32);
const SUITE = {
  ciphers: 'PSK-AES128-GCM-SHA256',
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
  allowHalfOpen: true,
} as const;
/** More than is read at once. */
const HELD = 16;

/**
 * Handles of TLS where those of plain sockets are in use already, and work. Never rejects; takes 100 ms where all is
 * well.
 */
export async function chooseTlsVariant(
  sockets: SocketVariant,
  wrap = wrapTlsSocket,
  timeoutMs = 2_000,
): Promise<TlsVariant> {
  if (sockets !== 'handle') return 'net';
  const works = await passes(
    () => tls.createServer({ ...SUITE, pskCallback: () => KEY }),
    (server, open) => tryTls(server, open, wrap),
    timeoutMs,
  );
  return works ? 'handle' : 'net';
}

/** Bytes both ways, back-pressure, a large write in many pieces, what comes while it is paused, half-close, the end. */
async function tryTls(server: net.Server, open: Trial[], wrap: typeof wrapTlsSocket): Promise<void> {
  const pair = async (): Promise<[Trial, Trial]> => {
    const accepted = new Promise<Trial>((resolve, reject) => {
      server.once('secureConnection', (socket: tls.TLSSocket) => {
        try {
          const trial = new Trial(wrap(socket, 'handle'));
          open.push(trial);
          resolve(trial);
        } catch (error) {
          socket.destroy();
          reject(error);
        }
      });
    });
    const socket = tls.connect({
      ...SUITE,
      host: '127.0.0.1',
      port: portOf(server),
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: KEY, identity: 'trial' }),
    });
    const connected = new Trial(wrapSocket(socket));
    open.push(connected);
    const [ours] = await Promise.all([accepted, once(socket, 'secureConnect')]);
    return [ours, connected];
  };
  await tryBytes(...(await pair()));

  const [accepted, client] = await pair();
  client.stream.write(PIECE);
  await accepted.until(() => accepted.bytes > 0);
  accepted.stream.pause();
  client.stream.writeAll(new Array(HELD).fill(PIECE));
  accepted.stream.resume();
  await accepted.until(() => accepted.bytes === (HELD + 1) * PIECE.length);
  accepted.stream.reset();
  await client.until(() => client.ended || client.closedWith !== undefined);
  check(accepted.stream.closed);
}
