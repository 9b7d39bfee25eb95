/**
 * Who we are and whom we expect on TLS connections to the backends of a service. Verification is on unless the
 * service turns it off. Sessions are kept per identity and address and never shared between identities, because a
 * resumed session is not compared with a name or a CA again.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import tls from 'node:tls';
import type { ResolvedService } from '../../shared/model/service.ts';

/** Certificate chain and private key in PEM that a service shows to its backends. */
export interface ClientCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** Sessions kept per identity; a backend needs one. */
const MAX_SESSIONS = 1_000;
/** Identities kept per service: workers may come and go under names that never come again. */
export const MAX_IDENTITIES = 2_000;

export class TlsIdentity {
  /** Equal for two identities that see and show exactly the same. */
  readonly key: string;
  readonly #context: tls.SecureContext;
  readonly #verify: boolean;
  readonly #serverName: string | null;
  readonly #sessions = new Map<string, Buffer>();

  constructor(key: string, context: tls.SecureContext, verify: boolean, serverName: string | null) {
    this.key = key;
    this.#context = context;
    this.#verify = verify;
    this.#serverName = serverName;
  }

  /** Connects and handshakes; `secureConnect` comes only when the peer was verified as the service asks. */
  connect(address: string, options: tls.ConnectionOptions): tls.TLSSocket {
    const session = this.#sessions.get(address);
    const socket = tls.connect({
      ...options,
      ...this.#expectation(),
      secureContext: this.#context,
      rejectUnauthorized: this.#verify,
      ALPNProtocols: ['http/1.1'],
      ...(session === undefined ? {} : { session }),
    });
    // Node emits this only after the peer passed verification (or verification is off): see the test.
    socket.on('session', (fresh: Buffer) => {
      if (this.#sessions.size >= MAX_SESSIONS) this.#sessions.clear();
      this.#sessions.set(address, fresh);
    });
    return socket;
  }

  /** The name to ask for and compare; without one, node:tls compares the address it connects to. */
  #expectation(): tls.ConnectionOptions {
    const name = this.#serverName;
    if (name === null) return {};
    // An address may not be sent as SNI (RFC 6066 §3), but the certificate can still be compared with it.
    if (isIP(name) !== 0) return { checkServerIdentity: (_, peer) => tls.checkServerIdentity(name, peer) };
    return { servername: name };
  }
}

/** The identities of one service as it is configured now: one context, and one identity per name to expect. */
export class TlsIdentities {
  readonly key: string;
  readonly #config: ResolvedService;
  readonly #context: tls.SecureContext | Error;
  readonly #byName = new Map<string | null, TlsIdentity>();

  constructor(config: ResolvedService, client: ClientCertificate | null) {
    this.key = identitiesKey(config, client);
    this.#config = config;
    this.#context = createContext(config, client);
  }

  /**
   * The identity for a backend under this host name (null: under an address), or what is wrong with the service's
   * `tls` settings: then no connection may be made, and nothing falls back to less.
   */
  for(name: string | null): TlsIdentity | Error {
    if (this.#context instanceof Error) return this.#context;
    const { tls: settings, host } = this.#config;
    const serverName = settings.serverName ?? name ?? withoutPort(host);
    const known = this.#byName.get(serverName);
    if (known !== undefined) return known;
    const key = `${this.key} ${serverName ?? ''}`;
    const identity = new TlsIdentity(key, this.#context, settings.verify, serverName);
    // One that is still used is made again: its key, by which connections are compared, stays the same.
    if (this.#byName.size >= MAX_IDENTITIES) this.#byName.clear();
    this.#byName.set(serverName, identity);
    return identity;
  }
}

/** Equal when `TlsIdentities` of both would be interchangeable. */
export function identitiesKey(config: ResolvedService, client: ClientCertificate | null): string {
  const { protocol, tls: settings, host } = config;
  return createHash('sha256')
    .update(JSON.stringify([protocol, settings, host, client]))
    .digest('base64');
}

function createContext(config: ResolvedService, client: ClientCertificate | null): tls.SecureContext | Error {
  const { certificate, ca } = config.tls;
  if (certificate !== null && client === null) {
    return new Error(
      `its client certificate "${certificate}" is not there: save it, or remove tls.certificate`,
    );
  }
  try {
    if (ca !== null) checkCertificates(ca);
    return tls.createSecureContext({
      minVersion: 'TLSv1.2',
      ...(ca === null ? {} : { ca }),
      ...(client === null ? {} : { cert: client.certificate, key: client.key }),
    });
  } catch (error) {
    return new Error(`its tls.ca or tls.certificate cannot be used: ${(error as Error).message}`);
  }
}

/** OpenSSL passes over what it cannot read; then every backend would be refused and nothing would say why. */
function checkCertificates(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  if (blocks === null) throw new Error('there is no certificate in PEM form in it');
  for (const block of blocks) new X509Certificate(block);
}

/** The name in a `host` setting, without its port; null for none. */
function withoutPort(host: string | null): string | null {
  if (host === null) return null;
  return host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}
