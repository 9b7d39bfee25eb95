/** Certificates for the tests of TLS. */
import { generate } from 'selfsigned';
import type { PemPair } from './key-pair.ts';

export interface TestCertificateOptions {
  /** Who signs it; itself when left out. */
  readonly ca?: PemPair;
  readonly expires?: Date;
}

/** A certificate for these names (and addresses); its common name is the first. */
export async function certificateFor(
  names: readonly string[],
  options: TestCertificateOptions = {},
): Promise<PemPair> {
  const altNames = names.map((name) =>
    /^[\d.]+$|:/.test(name) ? ({ type: 7, ip: name } as const) : ({ type: 2, value: name } as const),
  );
  const made = await generate([{ name: 'commonName', value: names[0] ?? 'nobody' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notAfterDate: options.expires ?? new Date(Date.now() + 86_400_000),
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames },
    ],
    ...(options.ca === undefined ? {} : { ca: { key: options.ca.key, cert: options.ca.certificate } }),
  });
  return { certificate: made.cert, key: made.private };
}

/** A pair whose chain broke off while it was copied: the certificate and the key are good, OpenSSL refuses the file. */
export function cutOff(pair: PemPair): PemPair {
  return { ...pair, certificate: `${pair.certificate.trimEnd()}\n${pair.certificate.slice(0, 200)}` };
}
