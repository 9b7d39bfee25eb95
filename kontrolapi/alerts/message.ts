/** What is sent: one message for all that happened within the time of a group. */
import { randomBytes } from 'node:crypto';
import type { Notice } from './board.ts';

/** The body of a webhook, and what an e-mail is made of. */
export interface Message {
  /** The same in every attempt. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** True for `POST /v1/alerts/test`. */
  readonly test: boolean;
  readonly alerts: readonly Notice[];
}

const MAX_SUBJECT = 150;

export function messageOf(alerts: readonly Notice[], at: number, test = false): Message {
  return { id: randomBytes(12).toString('hex'), at, test, alerts };
}

export function subjectOf({ alerts, test }: Message): string {
  const [first] = alerts;
  if (test || first === undefined) return '[kontrol] test alert';
  const more = alerts.length > 1 ? ` (and ${alerts.length - 1} more)` : '';
  const text = `${first.state === 'recovered' ? 'over: ' : ''}${first.title}`;
  return `[kontrol] ${text.slice(0, MAX_SUBJECT)}${more}`;
}

export function textOf({ alerts, at }: Message): string {
  const parts = alerts.map(({ state, title, detail, since }) => {
    const what = state === 'recovered' ? `OVER: ${title}` : `${title}\n${detail}`;
    return `${what}\n${state === 'recovered' ? 'over' : 'since'} ${new Date(since).toISOString()}\n`;
  });
  return `${parts.join('\n')}\nKontrol, ${new Date(at).toISOString()}\n`;
}
