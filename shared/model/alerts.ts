/**
 * `settings.alerts`: who is told when something goes wrong. Its secrets (the password of the mail server, the keys
 * that webhooks are signed with) live in the collection `secrets`; what is stored here only names them.
 */
import { z } from 'zod';
import { duration } from './fields.ts';

const MAX_WEBHOOKS = 20;
const MAX_RECIPIENTS = 50;
const REFERENCE = /^[0-9a-f]{32}$/;

const reference = z.string().regex(REFERENCE, 'expected what the API has answered');
const secret = z.string().min(1).max(1_000);
/** One address of a person; no list, no comment (which a mail server would leave out), no control character. */
const mailbox = z
  .string()
  .max(320)
  .regex(
    /^(?:[^<>,;:@"\p{Cc}]{0,200} <)?[^\s<>,;:@"()[\]\\\p{Cc}]+@[^\s<>,;:@"()[\]\\\p{Cc}]+>?$/u,
    'expected ops@example.com or Ops <ops@example.com>',
  )
  .refine(
    (text) => text.includes('<') === text.endsWith('>'),
    'expected ops@example.com or Ops <ops@example.com>',
  );
const time = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected a time like 22:00');
const zone = z.string().max(64).refine(isZone, 'expected a time zone like Europe/Berlin');

const mailServer = {
  host: z
    .string()
    .max(253)
    .regex(/^[A-Za-z0-9.:_-]+$/, 'expected a host name or address'),
  port: z.number().int().min(1).max(65_535).optional().describe('default 587, or 465 with security tls'),
  security: z
    .enum(['starttls', 'tls', 'none'])
    .optional()
    .describe('starttls refuses a server without it; default starttls'),
  user: z.string().max(320).optional(),
  from: mailbox,
  to: z.array(mailbox).min(1).max(MAX_RECIPIENTS),
};

const webhook = {
  url: z.string().max(2_048).refine(isHttpUrl, 'expected http://… or https://… without user and password'),
};

const common = {
  quiet: z
    .strictObject({ from: time, until: time, zone: zone.optional().describe('default UTC') })
    .nullable()
    .optional()
    .describe('only what is urgent is sent meanwhile, the rest afterwards'),
  group: duration().optional().describe('what happens within this time is one message; default 30s'),
};

/** What is stored. */
export const alertsSchema = z.strictObject({
  smtp: z
    .strictObject({ ...mailServer, passwordRef: reference.optional() })
    .nullable()
    .optional(),
  webhooks: z
    .array(z.strictObject({ ...webhook, secretRef: reference.optional() }))
    .max(MAX_WEBHOOKS)
    .optional(),
  ...common,
});
export type Alerts = z.output<typeof alertsSchema>;

/** What a PUT, PATCH or apply takes: secrets in clear, or the names that they are kept under. */
export const alertsInputSchema = z.strictObject({
  smtp: z
    .strictObject({ ...mailServer, password: secret.optional(), passwordRef: reference.optional() })
    .nullable()
    .optional(),
  webhooks: z
    .array(z.strictObject({ ...webhook, secret: secret.optional(), secretRef: reference.optional() }))
    .max(MAX_WEBHOOKS)
    .optional(),
  ...common,
});

/** Name of the secret that a reference stands for. */
export function alertSecret(ref: string): string {
  return `alert/${ref}`;
}

function isHttpUrl(text: string): boolean {
  try {
    const { protocol, username, password } = new URL(text);
    return (protocol === 'http:' || protocol === 'https:') && username === '' && password === '';
  } catch {
    return false;
  }
}

function isZone(text: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return true;
  } catch {
    return false;
  }
}
