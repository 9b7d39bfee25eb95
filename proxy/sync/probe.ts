/**
 * One active health check of one backend: connects as visitors' requests would, asks what the service says, and
 * answers null when all is well or why not. Never throws, always within its time, never leaves a socket behind.
 */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import net, { isIP } from 'node:net';
import tls from 'node:tls';
import type { ResolvedService } from '../../shared/model/service.ts';
import type { PemPair } from '../tls/key-pair.ts';
import { tlsOptions } from './check-tls.ts';

/** Most of an answer that is read, in bytes. */
const MAX_BODY = 65_536;
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** One way to reach a backend. */
export type Target =
  | { readonly type: 'unix'; readonly path: string }
  /** `name`: the host as configured, for Host and SNI. */
  | { readonly type: 'tcp'; readonly host: string; readonly port: number; readonly name: string };

/** Null when all is well, else why not; undefined when this machine could not even try. */
export type Verdict = string | null | undefined;

/** `running` holds what ends the check early; `client`: what the service shows to its backends (`tls.certificate`). */
export type Probe = (
  target: Target,
  service: ResolvedService,
  running: Set<AbortController>,
  client?: PemPair | null,
) => Promise<Verdict>;

/** What is checked, and how. */
interface Check {
  readonly target: Target;
  readonly service: ResolvedService;
  readonly client: PemPair | null;
  readonly signal: AbortSignal;
}

/** A backend that does not end the connection after a check is waited for no longer than this. */
const LEAVE_MS = 100;
const CLOSE_FRAME = closeFrame();

/** Failures of this machine: they say nothing about the backend. */
const OURS = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/** Checks `target` as `service.health` says, within its time-out. */
export const probe: Probe = async (target, service, running, client = null) => {
  const { health } = service;
  const controller = new AbortController();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    controller.abort();
  }, health.timeoutMs);
  running.add(controller);
  try {
    return await checkOf({ target, service, client, signal: controller.signal });
  } catch (error) {
    if (late) return `no answer within ${health.timeoutMs} ms`;
    const { code, message } = error as NodeJS.ErrnoException;
    if (controller.signal.aborted || OURS.has(code ?? '')) return undefined;
    return message || 'failed';
  } finally {
    clearTimeout(timer);
    running.delete(controller);
  }
};

function checkOf(check: Check): Promise<string | null> {
  switch (check.service.health.type) {
    case 'http':
      return httpCheck(check);
    case 'json':
      return jsonCheck(check);
    case 'websocket':
      return websocketCheck(check);
    case 'tcp':
    case 'off':
      return tcpCheck(check);
  }
}

/** TLS is spoken where the service speaks it, or where the check says so (a TCP service with TLS inside). */
function usesTls(service: ResolvedService): boolean {
  return service.health.tls || (service.protocol === 'https' && service.health.type !== 'tcp');
}

function tlsOf({ target, service, client }: Check): tls.ConnectionOptions {
  const named = target.type === 'tcp' && isIP(target.name) === 0;
  return tlsOptions(service, named ? target.name : null, client);
}

function address(target: Target): { path: string } | { host: string; port: number } {
  return target.type === 'unix' ? { path: target.path } : { host: target.host, port: target.port };
}

function tcpCheck(check: Check): Promise<null> {
  const { target, service, signal } = check;
  return new Promise((resolve, reject) => {
    const secure = usesTls(service);
    const socket = secure
      ? tls.connect({ ...address(target), ...tlsOf(check) })
      : net.connect(address(target));
    const abort = () => socket.destroy(new Error('aborted'));
    signal.addEventListener('abort', abort, { once: true });
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      resolve(null);
      signal.removeEventListener('abort', abort);
      leave(socket);
    });
    socket.once('close', () => {
      signal.removeEventListener('abort', abort);
      reject(new Error('closed'));
    });
    socket.on('error', reject);
  });
}

/**
 * Ends a connection in order. What the backend sends meanwhile (a greeting, the rest of an answer) is read: a socket
 * that is closed with unread bytes resets, and that is an error in the backend, which a simple one may not expect.
 */
function leave(socket: net.Socket): void {
  socket.on('error', () => {});
  socket.resume();
  socket.end();
  const timer = setTimeout(() => socket.destroy(), LEAVE_MS);
  socket.once('close', () => clearTimeout(timer));
}

function request(check: Check, headers: Readonly<Record<string, string>>): http.ClientRequest {
  const { target, service, signal } = check;
  const at = address(target);
  const host = service.host ?? (target.type === 'unix' ? 'localhost' : hostOf(target));
  const options: https.RequestOptions = {
    ...('path' in at ? { socketPath: at.path } : at),
    method: 'GET',
    path: service.health.path,
    headers: { host, 'user-agent': 'kontrol-health-check', connection: 'close', ...headers },
    // A connection of its own: a check that used a pooled one would prove nothing about new ones.
    agent: false,
    signal,
    maxHeaderSize: MAX_BODY,
  };
  return usesTls(service) ? https.request({ ...options, ...tlsOf(check) }) : http.request(options);
}

function hostOf(target: Extract<Target, { type: 'tcp' }>): string {
  return target.name.includes(':') ? `[${target.name}]:${target.port}` : `${target.name}:${target.port}`;
}

async function httpCheck(check: Check): Promise<string | null> {
  const { health } = check.service;
  const { status, body } = await fetchBody(check, health.body !== null);
  const expected =
    health.status.length === 0 ? status >= 200 && status < 400 : health.status.includes(status);
  if (!expected) return `status ${status}`;
  if (health.body !== null && !body.includes(health.body)) return 'the answer does not contain the text';
  return null;
}

/** `{"status": 200}`, as WebsocketReverseProxy has it, or the number as text. */
async function jsonCheck(check: Check): Promise<string | null> {
  const { status, body } = await fetchBody(check, true);
  if (status !== 200) return `status ${status}`;
  try {
    const said = (JSON.parse(body) as { status?: unknown } | null)?.status;
    return said === 200 || said === '200'
      ? null
      : `the answer says status ${JSON.stringify(said)?.slice(0, 40)}`;
  } catch {
    return 'the answer is not JSON';
  }
}

function fetchBody(check: Check, wantsBody: boolean): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(check, {});
    outgoing.on('error', reject);
    outgoing.on('close', () => reject(new Error('the connection closed without an answer')));
    outgoing.on('response', (response) => {
      const status = response.statusCode ?? 0;
      const chunks: Buffer[] = [];
      let length = 0;
      const done = () =>
        resolve({ status, body: Buffer.concat(chunks).toString('utf8', 0, Math.min(length, MAX_BODY)) });
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (wantsBody) chunks.push(chunk);
        if (length < MAX_BODY) return;
        done();
        outgoing.destroy();
      });
      response.on('end', done);
      if (wantsBody) return;
      done();
      const timer = setTimeout(() => outgoing.destroy(), LEAVE_MS);
      outgoing.once('close', () => clearTimeout(timer));
    });
    outgoing.end();
  });
}

/** A complete opening handshake (RFC 6455 §4.1), then goodbye. */
function websocketCheck(check: Check): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const key = randomBytes(16).toString('base64');
    const outgoing = request(check, {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-key': key,
      'sec-websocket-version': '13',
    });
    outgoing.on('error', reject);
    outgoing.on('close', () => reject(new Error('the connection closed without an answer')));
    outgoing.on('response', (response) => {
      resolve(`status ${response.statusCode} instead of 101`);
      outgoing.destroy();
    });
    outgoing.on('upgrade', (response, socket) => {
      const accept = createHash('sha1')
        .update(key + WEBSOCKET_GUID)
        .digest('base64');
      resolve(response.headers['sec-websocket-accept'] === accept ? null : 'the handshake is not valid');
      socket.write(CLOSE_FRAME);
      leave(socket as net.Socket);
    });
    outgoing.end();
  });
}

/** A masked close with status 1000 (RFC 6455 §5.5.1); the mask hides nothing here. */
function closeFrame(): Buffer {
  const mask = randomBytes(4);
  const code = Buffer.from([0x03, 0xe8]).map((byte, index) => byte ^ (mask[index] as number));
  return Buffer.concat([Buffer.from([0x88, 0x82]), mask, code]);
}
