/**
 * What is special to certificates: the pair is checked, the key goes into the secrets under the digest of its PEM
 * and is never read back, and a PUT without key keeps the one that is there.
 */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../../shared/clock.ts';
import { type FieldProblem, KontrolError } from '../../shared/errors.ts';
import { certificateInputSchema } from '../../shared/model/certificate.ts';
import { problemsOf } from '../../shared/model/kinds.ts';
import { certificateKeySecret, open, SEALED_FIELD, seal } from '../../shared/secrets.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import type { Doc, Held } from '../revisions/view.ts';
import type { KindRules } from './kind-rules.ts';

const MAX_CHAIN = 20;

const UNENCRYPTED: FieldProblem = {
  path: 'key',
  message: 'KONTROL_SECRET is not set: the private key is stored unencrypted',
};

export function certificateRules(live: LiveStore, secret: string | null, clock: Clock): KindRules {
  return {
    inputSchema: certificateInputSchema,
    async prepare(input, present, keep) {
      const parsed = certificateInputSchema.safeParse(input);
      if (!parsed.success) {
        const problems = problemsOf(parsed.error, certificateInputSchema);
        throw new KontrolError('invalid', undefined, problems);
      }
      const { key: given, keyDigest: named, ...rest } = parsed.data;
      const leaf = readChain(rest.certificate);
      if (given !== undefined) {
        const keyDigest = createHash('sha256').update(given).digest('hex');
        // A merge patch brings the digest of the former key along.
        if (named !== undefined && named !== keyDigest && named !== digestOf(present)) {
          throw invalid('keyDigest', 'it is not the digest of the key; leave it out');
        }
        checkPair(leaf, readKey(given, 'key'), 'key');
        tryPair(rest.certificate, given);
        if (keep)
          await live.put('secrets', certificateKeySecret(keyDigest), { [SEALED_FIELD]: seal(given, secret) });
        return { ...rest, keyDigest };
      }
      const keyDigest = named ?? digestOf(present);
      if (keyDigest === null) throw invalid('key', 'a new certificate needs its private key (PEM)');
      const kept = await readSecret(live, keyDigest, secret);
      if (kept === null) throw invalid('key', 'the key that was stored is gone; send it again');
      checkPair(leaf, readKey(kept, 'key'), 'certificate');
      tryPair(rest.certificate, kept);
      return { ...rest, keyDigest };
    },
    check(doc) {
      const warnings = certificateWarnings(String(doc.certificate), clock.now());
      return { warnings: secret === null ? [...warnings, UNENCRYPTED] : warnings };
    },
  };
}

function digestOf(held: Held | undefined): string | null {
  const digest = (held?.doc as Doc | undefined)?.keyDigest;
  return typeof digest === 'string' ? digest : null;
}

async function readSecret(live: LiveStore, digest: string, secret: string | null): Promise<string | null> {
  const sealed = (await live.get('secrets', certificateKeySecret(digest)))?.[SEALED_FIELD];
  if (typeof sealed !== 'string') return null;
  try {
    return open(sealed, secret);
  } catch (error) {
    throw invalid('key', `the stored key cannot be read: ${(error as Error).message}; send the key again`);
  }
}

function invalid(path: string, message: string): KontrolError {
  return new KontrolError('invalid', undefined, [{ path, message }]);
}

/** The certificates of a chain in PEM. Throws `invalid` when one cannot be read. */
function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw invalid('certificate', 'expected PEM: -----BEGIN CERTIFICATE-----');
  if (blocks.length > MAX_CHAIN)
    throw invalid('certificate', `a chain has at most ${MAX_CHAIN} certificates`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw invalid('certificate', `certificate ${index + 1} of the chain cannot be read`);
    }
  });
}

function readChain(pem: string): X509Certificate {
  const [leaf] = certificatesIn(pem);
  if (leaf === undefined) throw invalid('certificate', 'there is no certificate in it');
  return leaf;
}

function readKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const encrypted = /ENCRYPTED/.test(pem);
    const reason = encrypted ? 'it is encrypted; send it without a passphrase' : (error as Error).message;
    throw invalid(path, `not a private key in PEM: ${reason}`);
  }
}

function checkPair(leaf: X509Certificate, key: KeyObject, path: string): void {
  if (leaf.checkPrivateKey(key)) return;
  throw invalid(
    path,
    'key and certificate are not a pair (the first certificate of the chain is the one served)',
  );
}

/** OpenSSL reads every certificate of the chain, what is cut off included, and refuses keys that are too small. */
function tryPair(certificate: string, key: string): void {
  try {
    createSecureContext({ cert: certificate, key });
  } catch (error) {
    throw invalid(
      'certificate',
      `TLS cannot use it with its key (${(error as Error).message}): look whether every certificate of the chain is ` +
        'whole, and take a key of 2048 bits (RSA) or 256 (EC) at least',
    );
  }
}

function certificateWarnings(pem: string, now: number): FieldProblem[] {
  const [leaf] = certificatesIn(pem);
  if (leaf === undefined) return [];
  const warnings: FieldProblem[] = [];
  const path = 'certificate';
  if (Date.parse(leaf.validTo) <= now) warnings.push({ path, message: `it expired at ${leaf.validTo}` });
  if (Date.parse(leaf.validFrom) > now)
    warnings.push({ path, message: `it is valid only from ${leaf.validFrom}` });
  if (leaf.subjectAltName === undefined) {
    warnings.push({ path, message: 'it has no subjectAltName, so it is served for no host' });
  }
  return warnings;
}
