/**
 * What a backend is told about the certificate of a visitor, on domains that ask for one: the certificate itself
 * (`Client-Cert`, RFC 9440) and two fields for those who do not want to decode it. Made once per connection.
 */
import { X509Certificate } from 'node:crypto';
import type { TlsClient } from '../stream/byte-stream.ts';

/** Lines of a head; empty when nothing was proved. */
export function clientCertificateFields(client: TlsClient | null): string {
  if (client === null || !client.verified || client.certificate === null) return '';
  const certificate = new X509Certificate(client.certificate);
  return [
    // A byte sequence of RFC 8941 §3.3.5.
    `Client-Cert: :${client.certificate.toString('base64')}:`,
    `X-Client-Cert-Subject: ${distinguishedName(certificate.toLegacyObject().subject)}`,
    `X-Client-Cert-Fingerprint: ${certificate.fingerprint256.replaceAll(':', '').toLowerCase()}`,
    '',
  ].join('\r\n');
}

/** The text form of RFC 4514, in ASCII: most specific part first, everything unusual escaped, so that it has one reading. */
export function distinguishedName(subject: Readonly<Record<string, string | string[] | undefined>>): string {
  return Object.entries(subject)
    .flatMap(([type, values]) => [values ?? []].flat().map((value) => `${type}=${escaped(value)}`))
    .reverse()
    .join(',');
}

function escaped(value: string): string {
  const plain = value.replace(/[",+;<>\\=]/g, '\\$&').replace(/^[ #]| $/g, '\\$&');
  return plain.replace(/[^\x20-\x7e]+/g, (others) =>
    [...Buffer.from(others, 'utf8')].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
