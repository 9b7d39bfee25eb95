/** The authority whose certificates visitors of a domain have to show, made ready when the domain is compiled. */
import { createHash, X509Certificate } from 'node:crypto';

export interface ClientAuthority {
  /** Equal for equal texts; 28 characters. */
  readonly id: string;
  /** One certificate or more. */
  readonly pem: string;
}

/** What of a connection a domain with client certificates looks at. */
export interface TlsOfRequest {
  /**
   * What the visitor proved to the authority with this digest, when it asked for this server name (lower case, no
   * trailing dot); null where no certificate was asked for.
   */
  readonly client: {
    readonly authority: string;
    readonly serverName: string;
    readonly verified: boolean;
  } | null;
}

/** Throws an Error that says what cannot be used: OpenSSL would pass over it, and everybody would be refused. */
export function compileClientAuthority(pem: string): ClientAuthority {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  if (blocks === null) throw new Error('there is no certificate in PEM form in it');
  for (const [index, block] of blocks.entries()) {
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(block);
    } catch (error) {
      throw new Error(`certificate ${index + 1} cannot be read: ${(error as Error).message}`);
    }
    if (!certificate.ca) {
      throw new Error(
        `certificate ${index + 1} is not that of an authority (it has no CA:TRUE); ` +
          'give the one that signs the certificates of visitors',
      );
    }
  }
  return { id: createHash('sha256').update(pem).digest('base64url').slice(0, 28), pem };
}
