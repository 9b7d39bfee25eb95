/** What every TLS context towards visitors has in common. */
import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';

/**
 * Under TLS 1.2 only suites with forward secrecy and authenticated encryption (Mozilla "intermediate", and what
 * RFC 9113 §9.2.2 asks for); those of TLS 1.3 come with it.
 */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

export const CONTEXT_OPTIONS: SecureContextOptions = {
  minVersion: 'TLSv1.2',
  ciphers: CIPHERS,
  // All are strong: a client without AES hardware may prefer ChaCha20.
  honorCipherOrder: false,
  // Renegotiation is a TLS 1.2 client's way to make us work. This bit counts only in a server's own options.
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  // Equal in all processes and nodes: a session of one is resumed by another.
  sessionIdContext: 'kontrol',
};
