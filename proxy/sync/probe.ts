/**
 * One active health check of one backend: connects as visitors' requests would, asks what the service says, and
 * answers null when all is well or why not. Never throws, always within its time, never leaves a socket behind.
 */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import net, { isIP } from 'node:net';
import tls from 'node:tls';
import type { ResolvedHealth, ResolvedService } from '../../shared/model/service.ts';

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

/** `running` holds what ends the check early. */
export type Probe = (
  target: Target,
  service: ResolvedService,
  running: Set<AbortController>,
) => Promise<Verdict>;

/** A backend that does not end the connection after a check is waited for no longer than this. */
const LEAVE_MS = 100;
const CLOSE_FRAME = closeFrame();

/** Failures of this machine: they say nothing about the backend. */
const OURS = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/** Checks `target` as `service.health` says, within its time-out. */
export const probe: Probe = async (target, service, running) => {
  const { health } = service;
  const controller = new AbortController();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    controller.abort();
  }, health.timeoutMs);
  running.add(controller);
  try {
    return await checkOf(health, target, service, controller.signal);
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

function checkOf(
  health: ResolvedHealth,
  target: Target,
  service: ResolvedService,
  signal: AbortSignal,
): Promise<string | null> {
  switch (health.type) {
    case 'http':
      return httpCheck(target, service, signal);
    case 'json':
      return jsonCheck(target, service, signal);
    case 'websocket':
      return websocketCheck(target, service, signal);
    case 'tcp':
    case 'off':
      return tcpCheck(target, service, signal);
  }
}

/** TLS is spoken where the service speaks it, or where the check says so (a TCP service with TLS inside). */
function usesTls(service: ResolvedService): boolean {
  return service.health.tls || (service.protocol === 'https' && service.health.type !== 'tcp');
}

function tlsOptions(target: Target, service: ResolvedService): tls.ConnectionOptions {
  const { verify, ca, serverName } = service.tls;
  const name = serverName ?? (target.type === 'tcp' ? target.name : service.host?.replace(/:\d+$/, ''));
  return {
    rejectUnauthorized: verify,
    ...(ca === null ? {} : { ca }),
    // An address is not sent as SNI (RFC 6066 §3); node:tls compares the certificate with it all the same.
    ...(name === undefined || isIP(name) !== 0 ? {} : { servername: name }),
  };
}

function address(target: Target): { path: string } | { host: string; port: number } {
  return target.type === 'unix' ? { path: target.path } : { host: target.host, port: target.port };
}

function tcpCheck(target: Target, service: ResolvedService, signal: AbortSignal): Promise<null> {
  return new Promise((resolve, reject) => {
    const secure = usesTls(service);
    const socket = secure
      ? tls.connect({ ...address(target), ...tlsOptions(target, service) })
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

function request(
  target: Target,
  service: ResolvedService,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>>,
): http.ClientRequest {
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
  return usesTls(service)
    ? https.request({ ...options, ...tlsOptions(target, service) })
    : http.request(options);
}

function hostOf(target: Extract<Target, { type: 'tcp' }>): string {
  return target.name.includes(':') ? `[${target.name}]:${target.port}` : `${target.name}:${target.port}`;
}

async function httpCheck(
  target: Target,
  service: ResolvedService,
  signal: AbortSignal,
): Promise<string | null> {
  const { health } = service;
  const { status, body } = await fetchBody(target, service, signal, health.body !== null);
  const expected =
    health.status.length === 0 ? status >= 200 && status < 400 : health.status.includes(status);
  if (!expected) return `status ${status}`;
  if (health.body !== null && !body.includes(health.body)) return 'the answer does not contain the text';
  return null;
}

/** `{"status": 200}`, as WebsocketReverseProxy has it, or the number as text. */
async function jsonCheck(
  target: Target,
  service: ResolvedService,
  signal: AbortSignal,
): Promise<string | null> {
  const { status, body } = await fetchBody(target, service, signal, true);
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

function fetchBody(
  target: Target,
  service: ResolvedService,
  signal: AbortSignal,
  wantsBody: boolean,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(target, service, signal, {});
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
function websocketCheck(
  target: Target,
  service: ResolvedService,
  signal: AbortSignal,
): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const key = randomBytes(16).toString('base64');
    const outgoing = request(target, service, signal, {
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
