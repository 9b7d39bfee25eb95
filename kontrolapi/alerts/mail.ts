/** One e-mail of a message, as plain text, over a connection of its own. */
import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import { createTransport } from 'nodemailer';
import type { Alerts } from '../../shared/model/alerts.ts';
import { type Message, subjectOf, textOf } from './message.ts';
import { mailPort, type Refusal } from './targets.ts';

const CONNECT_MS = 10_000;
const SOCKET_MS = 20_000;

export type MailServer = NonNullable<Alerts['smtp']>;

/**
 * Resolves when the server took it for every recipient; rejects with what it said instead, and when `end` aborts: the
 * time-outs below are of silence, and a server that goes on talking would never be left.
 */
export async function sendMail(
  server: MailServer,
  password: string | null,
  message: Message,
  refusal: Refusal,
  end: AbortSignal,
): Promise<void> {
  const port = mailPort(server);
  const host = await addressOf(server.host, port, refusal);
  const security = server.security ?? 'starttls';
  const transport = createTransport({
    host,
    port,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    tls: isIP(server.host) === 0 ? { servername: server.host } : {},
    ...(server.user === undefined ? {} : { auth: { user: server.user, pass: password ?? '' } }),
    greetingTimeout: CONNECT_MS,
    socketTimeout: SOCKET_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
    getSocket: (_options, callback) => openSocket(host, port, end, callback),
  });
  try {
    const { rejected } = await transport.sendMail({
      from: server.from,
      to: [...server.to],
      subject: subjectOf(message),
      text: textOf(message),
      // The same in every attempt, so that a mailbox shows one.
      messageId: `<${message.id}@kontrol>`,
      headers: { 'Auto-Submitted': 'auto-generated' },
    });
    if (rejected.length > 0) throw new Error(`the mail server refused ${rejected.length} recipient(s)`);
  } catch (error) {
    if (end.aborted) throw new Error('the mail server did not take it in time', { cause: error });
    throw error;
  } finally {
    transport.close();
  }
}

/** A connection of our own, so that the end of an attempt ends it whatever is said on it. */
function openSocket(
  host: string,
  port: number,
  end: AbortSignal,
  callback: (error: Error | null, given?: { connection: Socket }) => void,
): void {
  const connection = connect({ host, port, signal: end });
  const silent = () => connection.destroy(new Error(`no connection within ${CONNECT_MS / 1_000} s`));
  connection.setTimeout(CONNECT_MS, silent);
  connection.once('error', callback);
  connection.once('connect', () => {
    connection.setTimeout(0, silent).off('error', callback);
    callback(null, { connection });
  });
}

/** Resolved here, so that what the name stands for can be refused. */
async function addressOf(host: string, port: number, refusal: Refusal): Promise<string> {
  const addresses = isIP(host) !== 0 ? [{ address: host }] : await lookup(host, { all: true });
  for (const { address } of addresses) {
    const why = refusal(`${address.includes(':') ? `[${address}]` : address}:${port}`);
    if (why !== null) throw new Error(`${host} may not be reached: ${why}`);
  }
  const [first] = addresses;
  if (first === undefined) throw new Error(`${host} has no address`);
  return first.address;
}
