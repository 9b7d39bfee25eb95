/** A certificate chain with its private key: checked once, with words that say which of the two is wrong and how. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { CONTEXT_OPTIONS } from './tls-options.ts';

/** PEM texts as they come from files, the store and the API. */
export interface PemPair {
  /** The certificate, then its intermediates. */
  readonly certificate: string;
  readonly key: string;
}

/** A pair that belongs together. */
export interface KeyPair extends PemPair {
  /** Host names it is for, lower case; `*.x` covers one label. Empty when it has no DNS names. */
  readonly names: readonly string[];
  /** Milliseconds since 1970 after which clients refuse it. */
  readonly expires: number;
}

/** Throws an Error whose message says what is wrong with which of the two and what to do. */
export function checkPair(pem: PemPair): KeyPair {
  const certificate = readCertificate(pem.certificate);
  const key = readKey(pem.key);
  if (!certificate.checkPrivateKey(key)) {
    throw new Error(
      'the private key does not belong to the certificate: give the key the certificate was issued for ' +
        '(the first certificate of the file must be the site’s own, its intermediates follow)',
    );
  }
  return {
    certificate: pem.certificate,
    key: pem.key,
    names: namesOf(certificate.subjectAltName),
    expires: Date.parse(certificate.validTo),
  };
}

/**
 * A context that shows this pair. Throws an Error like `checkPair`: OpenSSL reads every certificate of the file and has
 * the last word about keys and signatures.
 */
export function secureContextOf(
  { certificate, key }: PemPair,
  more: SecureContextOptions = {},
): SecureContext {
  try {
    return createSecureContext({ ...CONTEXT_OPTIONS, ...more, cert: certificate, key });
  } catch (error) {
    throw new Error(
      `TLS cannot use the pair (${(error as Error).message}): look whether every certificate of the file is whole, ` +
        'and give a key of 2048 bits (RSA) or 256 (EC) at least',
    );
  }
}

/** Whether a certificate for `name` is good for `host` (RFC 6125 §6.4.3: a wildcard stands for exactly one label). */
export function covers(name: string, host: string): boolean {
  if (name === host) return true;
  return (
    name.startsWith('*.') && host.endsWith(name.slice(1)) && !host.slice(0, 1 - name.length).includes('.')
  );
}

function readCertificate(pem: string): X509Certificate {
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new Error('the certificate is not in PEM form: it has no line "-----BEGIN CERTIFICATE-----"');
  }
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new Error(`the certificate cannot be read: ${(error as Error).message}`);
  }
}

function readKey(pem: string): KeyObject {
  if (pem.includes('ENCRYPTED')) {
    throw new Error('the private key is protected by a passphrase: store it without one (openssl pkey)');
  }
  if (!/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(pem)) {
    throw new Error('the private key is not in PEM form: it has no line "-----BEGIN PRIVATE KEY-----"');
  }
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new Error(`the private key cannot be read: ${(error as Error).message}`);
  }
}

const DNS_NAME = /^DNS:((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)$/i;

/** Node quotes names with unusual characters: those match nothing here, so that they cannot smuggle in another. */
function namesOf(subjectAltName: string | undefined): string[] {
  const names = (subjectAltName ?? '').split(', ').map((entry) => DNS_NAME.exec(entry)?.[1]?.toLowerCase());
  return [...new Set(names.filter((name) => name !== undefined))];
}
