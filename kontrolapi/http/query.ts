/** Parameters that several calls share. Unknown ones are refused, so a misspelt `dryrun` never writes. */
import { z } from 'zod';
import { duration } from '../../shared/model/fields.ts';

export const flag = z.enum(['0', '1', 'false', 'true']).transform((text) => text === '1' || text === 'true');

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;
const MAX_WAIT_MS = 60_000;
const MIN_CONFIRM_MS = 1_000;
const MAX_CONFIRM_MS = 7 * 86_400_000;

export const pageLimit = z
  .string()
  .regex(/^\d{1,6}$/, 'a limit is a positive integer')
  .transform(Number)
  .refine((limit) => limit >= 1 && limit <= MAX_LIMIT, `a limit is 1 to ${MAX_LIMIT}`)
  .optional()
  .describe(`items per answer, 1 to ${MAX_LIMIT}; default ${DEFAULT_LIMIT}`);

export function limitOf(limit: number | undefined): number {
  return limit ?? DEFAULT_LIMIT;
}

/** What every write takes. */
export const writeQuery = z.strictObject({
  dryRun: flag.optional().describe('1: validate and show difference and warnings, write nothing'),
  wait: z.literal('all').optional().describe('all: answer when every live node serves the change'),
  timeout: duration()
    .refine((ms) => ms <= MAX_WAIT_MS, 'a time-out is at most 60s')
    .optional()
    .describe('how long wait=all waits, at most 60s; default 5s'),
  confirmWithin: duration()
    .refine((ms) => ms >= MIN_CONFIRM_MS && ms <= MAX_CONFIRM_MS, 'a change is confirmed within 1s to 7d')
    .optional()
    .describe('undo the change after this time, 1s to 7d, unless POST /v1/revisions/{seq}/confirm comes'),
  message: z.string().max(500).optional().describe('why; kept in the history'),
});
export type WriteQuery = z.output<typeof writeQuery>;

export const DEFAULT_WAIT_MS = 5_000;
