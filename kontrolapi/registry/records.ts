/** What is kept of a worker for people and for its permission: one document of the collection `workers` each. */
import { z } from 'zod';
import { START_MODES } from '../../shared/model/live.ts';
import type { LiveDocument } from '../../shared/store/contract.ts';

export const COMMANDS = ['drain', 'stop'] as const;
export type Command = (typeof COMMANDS)[number];

const recordSchema = z.object({
  id: z.string().min(1).max(128),
  service: z.string().min(1).max(256),
  key: z.number().int().min(1).max(999_999_999_999_999),
  address: z.string().min(1).max(300),
  name: z.string().max(256),
  pid: z.number().int().min(0).nullable(),
  version: z.string().max(256),
  mode: z.enum(START_MODES),
  weight: z.number().int().min(0).max(1_000),
  meta: z.record(z.string(), z.string()),
  /** Milliseconds since 1970. */
  since: z.number(),
  /** What an operator asked of it; delivered with its next beat. */
  command: z.enum(COMMANDS).nullable(),
});

export type WorkerRecord = Readonly<z.output<typeof recordSchema>>;

export function toDocument({ id: _id, ...fields }: WorkerRecord): Record<string, unknown> {
  return fields;
}

/** A record as it was written; null for a document that is none (edited by hand): its worker registers again. */
export function fromDocument({ _id, v: _v, ...fields }: LiveDocument): WorkerRecord | null {
  const parsed = recordSchema.safeParse({ ...fields, id: _id });
  return parsed.success ? parsed.data : null;
}
