/** One firewall rule: what it matches and what that means. */
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { commonFields, duration, objectName, patternText } from './fields.ts';

export const RULE_LISTS = ['whitelist', 'blacklist', 'allow', 'securepage', 'limit'] as const;
export const RULE_TYPES = ['ip', 'ip-regex', 'country', 'rate', 'all'] as const;
export type RuleList = (typeof RULE_LISTS)[number];
export type RuleType = (typeof RULE_TYPES)[number];

export const addressOrCidr = z
  .string()
  .max(64)
  .refine((text) => isAddressOrCidr(text), 'expected an IPv4 or IPv6 address or CIDR, like 10.0.0.0/8');

export function isAddressOrCidr(text: string): boolean {
  const [address, bits, more] = text.split('/');
  if (address === undefined || more !== undefined || address.includes('%')) return false;
  if (!ipaddr.IPv4.isValidFourPartDecimal(address) && !ipaddr.IPv6.isValid(address)) return false;
  if (bits === undefined) return true;
  return /^\d{1,3}$/.test(bits) && Number(bits) <= (address.includes(':') ? 128 : 32);
}

/** Shorter than this nothing can be counted over several processes. */
const MIN_PERIOD_MS = 100;
const MAX_PERIOD_MS = 366 * 86_400_000;

const rate = z.strictObject({
  requests: z.number().int().min(1).max(1_000_000_000).describe('requests that may pass in the period'),
  per: z
    .union([z.enum(['second', 'minute', 'hour', 'day']), duration()])
    .refine(
      (per) => typeof per !== 'number' || (per >= MIN_PERIOD_MS && per <= MAX_PERIOD_MS),
      'expected 100ms to 366d',
    )
    .describe('any window of this length; second, minute, hour, day or a duration from 100ms to 366d'),
  by: z
    .string()
    .refine(
      (by) => by === 'client' || by === 'domain' || /^header:[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/.test(by),
      'expected client, domain or header:NAME',
    )
    .optional()
    .describe('whose requests are counted together; default client'),
});

export const ruleSchema = z
  .strictObject({
    name: objectName(),
    list: z.enum(RULE_LISTS),
    type: z.enum(RULE_TYPES),
    match: z.array(z.string().max(1_024)).max(10_000).optional(),
    rate: rate.optional(),
    enabled: z.boolean().optional().describe('default true'),
    dryRun: z.boolean().optional().describe('only counts and logs; default false'),
    expires: z.iso.datetime({ offset: true }).nullable().optional(),
    ...commonFields,
  })
  .superRefine((rule, context) => {
    const entry = MATCH_ENTRY[rule.type];
    if (entry === null) {
      if (rule.match !== undefined)
        context.addIssue({ code: 'custom', path: ['match'], message: `type ${rule.type} has no match` });
    } else if (rule.match === undefined || rule.match.length === 0) {
      context.addIssue({ code: 'custom', path: ['match'], message: `type ${rule.type} needs a match list` });
    } else {
      rule.match.forEach((text, index) => {
        for (const issue of entry.safeParse(text).error?.issues ?? []) {
          context.addIssue({ code: 'custom', path: ['match', index], message: issue.message });
        }
      });
    }
    if ((rule.type === 'rate') !== (rule.list === 'limit')) {
      context.addIssue({
        code: 'custom',
        path: ['list'],
        message: 'type rate goes with list limit, and only with it',
      });
    }
    if ((rule.type === 'rate') !== (rule.rate !== undefined)) {
      context.addIssue({
        code: 'custom',
        path: ['rate'],
        message: 'type rate needs rate, the other types have none',
      });
    }
  });

const MATCH_ENTRY: Record<RuleType, z.ZodType | null> = {
  ip: addressOrCidr,
  'ip-regex': patternText(),
  country: z.string().regex(/^[A-Za-z]{2}$/, 'expected a two-letter ISO country code'),
  rate: null,
  all: null,
};

export type Rule = z.output<typeof ruleSchema>;
