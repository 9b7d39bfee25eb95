/** Quiet hours: from one time of the day until another, in a time zone, also over midnight. */
import type { Alerts } from '../../shared/model/alerts.ts';

/** `now`: milliseconds since 1970. Equal times are no hours at all. */
export function isQuiet(quiet: Alerts['quiet'], now: number): boolean {
  if (!quiet) return false;
  const at = minutesOf(
    new Intl.DateTimeFormat('en-GB', {
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
      timeZone: quiet.zone ?? 'UTC',
    }).format(now),
  );
  const from = minutesOf(quiet.from);
  const until = minutesOf(quiet.until);
  return from <= until ? at >= from && at < until : at >= from || at < until;
}

function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
}
