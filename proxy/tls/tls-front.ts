/**
 * TLS towards visitors. One front per serving process holds the certificates and ticket keys; each HTTPS socket gets
 * a server of it, which is listened on like any `net.Server` and hands out connections whose handshake is done.
 */
import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import tls from 'node:tls';
import type { Log } from '../../shared/log.ts';
import type { ClientAuthority } from '../../shared/routing/client-authority.ts';
import { TICKET_KEYS_BYTES } from '../../shared/secrets.ts';
import { CertificateStore } from './certificate-store.ts';
import { CONTEXT_OPTIONS } from './tls-options.ts';

export interface TlsFrontOptions {
  readonly log: Log;
  /** How long a handshake may take, in milliseconds. Default 10 000. */
  readonly handshakeTimeoutMs?: number;
  /** Protocols offered to clients that know ALPN, in order of preference. Default: `http/1.1` only. */
  readonly alpn?: readonly string[];
  /** Milliseconds, monotonic. Default: of this process. */
  readonly monotonic?: () => number;
}

/** What tells the servers of a front apart. */
export interface ServerRole {
  /** Clients are asked for a certificate of it; the handshake succeeds whatever they show. Null: they are not asked. */
  readonly authority: ClientAuthority | null;
  /** It resumes sessions that were kept under the ticket keys before the present ones. */
  readonly former: boolean;
}

const PLAIN: ServerRole = { authority: null, former: false };
/** How long tickets made with the keys before are taken: as long as OpenSSL lets a session live. */
const FORMER_KEYS_MS = 7_200_000;
const KEY_NAME_BYTES = 16;

const WRONG_SCHEME = 'This port speaks HTTPS: write https:// in front of the address.\n';
/** To a client that sends a plain HTTP request here. */
const SPEAKS_HTTPS = [
  'HTTP/1.1 400 Bad Request',
  'Content-Type: text/plain; charset=utf-8',
  `Content-Length: ${WRONG_SCHEME.length}`,
  'Cache-Control: no-store',
  'Proxy-Status: kontrol; error=http_request_error; details="bad_request"',
  'Connection: close',
  '',
  WRONG_SCHEME,
].join('\r\n');

export class TlsFront {
  readonly certificates: CertificateStore;
  readonly #options: TlsFrontOptions;
  readonly #servers = new Map<tls.Server, ServerRole>();
  /** Until the shared ones come, tickets are good for this process only. */
  #ticketKeys: Buffer = randomBytes(TICKET_KEYS_BYTES);
  #formerKeys: Buffer | null = null;
  #formerUntil = 0;

  constructor(options: TlsFrontOptions) {
    this.#options = options;
    this.certificates = new CertificateStore(() => this.#refresh());
  }

  /**
   * A server for one socket: `listen(handle)` it, or `emit('connection', socket)` for sockets that were accepted
   * elsewhere. `onSocket` gets each connection once its handshake is done and takes it over with all its errors.
   */
  createServer(onSocket: (socket: tls.TLSSocket) => void, role: ServerRole = PLAIN): tls.Server {
    const { authority } = role;
    const server = tls.createServer({
      ...this.#contextOptions(role),
      // Whoever shows none, or a bad one, is told so in an answer that people can read: see `decide`.
      ...(authority === null ? {} : { requestCert: true, rejectUnauthorized: false }),
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      handshakeTimeout: this.#options.handshakeTimeoutMs ?? 10_000,
      ALPNProtocols: [...(this.#options.alpn ?? ['http/1.1'])],
      SNICallback: (serverName, done) => this.#choose(serverName, authority, done),
    });
    server.on('secureConnection', onSocket);
    server.on('tlsClientError', (error, socket) => this.#failed(error, socket));
    server.on('close', () => this.#servers.delete(server));
    this.#servers.set(server, role);
    return server;
  }

  /**
   * Keys for session tickets, shared by all processes and nodes: the present ones, then the ones before, if any.
   * Node voids tickets at once that were made with other keys, so servers of their own resume those: see `isFormer`.
   */
  setTicketKeys(keys: Buffer): void {
    if (keys.length !== TICKET_KEYS_BYTES && keys.length !== 2 * TICKET_KEYS_BYTES) {
      throw new Error(`ticket keys have ${TICKET_KEYS_BYTES} bytes, or twice as many, not ${keys.length}`);
    }
    const present = keys.subarray(0, TICKET_KEYS_BYTES);
    const former = keys.length > TICKET_KEYS_BYTES ? keys.subarray(TICKET_KEYS_BYTES) : null;
    const same = former === null ? this.#formerKeys === null : this.#formerKeys?.equals(former) === true;
    if (same && present.equals(this.#ticketKeys)) return;
    this.#ticketKeys = present;
    this.#formerKeys = former;
    this.#formerUntil = this.#now() + FORMER_KEYS_MS;
    for (const [server, role] of this.#servers) server.setTicketKeys(this.#keysOf(role));
  }

  /** Whether tickets of the keys before the present ones are taken now: whoever does handshakes has to look. */
  get takesFormerTickets(): boolean {
    return this.#formerKeys !== null && this.#now() < this.#formerUntil;
  }

  /** Whether a ticket under this key name is for a server with the role `former`. */
  isFormer(ticketKeyName: Buffer | null): boolean {
    if (ticketKeyName === null || this.#formerKeys === null || !this.takesFormerTickets) return false;
    return this.#formerKeys.subarray(0, KEY_NAME_BYTES).equals(ticketKeyName);
  }

  /** The default certificate changed. */
  #refresh(): void {
    for (const [server, role] of this.#servers) server.setSecureContext(this.#contextOptions(role));
  }

  #now(): number {
    return this.#options.monotonic?.() ?? performance.now();
  }

  #keysOf({ former }: ServerRole): Buffer {
    return former && this.#formerKeys !== null ? this.#formerKeys : this.#ticketKeys;
  }

  #contextOptions(role: ServerRole): tls.TlsOptions {
    const pair = this.certificates.default;
    const { authority } = role;
    return {
      ...CONTEXT_OPTIONS,
      ticketKeys: this.#keysOf(role),
      // A session that began without a certificate, or under another authority, must not be resumed here: OpenSSL
      // compares this text, and nothing else of what was verified then. At most 32 bytes.
      ...(authority === null ? {} : { ca: authority.pem, sessionIdContext: `ask ${authority.id}` }),
      ...(pair === null ? {} : { cert: pair.certificate, key: pair.key }),
    };
  }

  #choose(
    serverName: string,
    authority: ClientAuthority | null,
    done: (error: Error | null, context?: tls.SecureContext) => void,
  ): void {
    try {
      done(null, this.certificates.contextFor(serverName, authority) ?? undefined);
    } catch (error) {
      // Checked when it was set; should OpenSSL think otherwise now, this handshake fails and nothing else.
      this.#options.log.error('certificate_unusable', 'a certificate could not be loaded; save it anew', {
        serverName,
        error: String(error),
      });
      done(error as Error);
    }
  }

  #failed(error: NodeJS.ErrnoException, socket: Socket): void {
    this.#options.log.debug('tls_handshake_failed', error.message, { address: socket.remoteAddress });
    const plain = error.code === 'ERR_SSL_HTTP_REQUEST' ? plainSocketOf(socket) : null;
    if (plain === null) socket.destroy();
    // Closing the TLS side closes the connection; its answer is under way then.
    else plain.write(SPEAKS_HTTPS, () => socket.destroy());
  }
}

/** The connection below a failed handshake (a field of Node's own); null where Node has none or it is gone. */
function plainSocketOf(socket: Socket): Socket | null {
  const below = (socket as { readonly _parent?: unknown })._parent;
  return below instanceof Socket && below.writable ? below : null;
}
