/** A certificate for the names in its subjectAltName. Its private key lives in the secrets, never in a revision. */
import { z } from 'zod';
import { commonFields, objectName } from './fields.ts';

const pem = z.string().max(1_000_000);

/** What a PUT takes: the key may be left out to keep the one that is stored. */
export const certificateInputSchema = z.strictObject({
  name: objectName(),
  certificate: pem,
  key: pem.optional(),
  keyDigest: z.string().optional(),
  ...commonFields,
});

/** What is stored: the chain and the SHA-256 (hex) of the key in PEM; the secret is named `certificate/<keyDigest>`. */
export const certificateSchema = z.strictObject({
  name: objectName(),
  certificate: pem,
  keyDigest: z.string().regex(/^[0-9a-f]{64}$/),
  ...commonFields,
});
export type Certificate = z.output<typeof certificateSchema>;
