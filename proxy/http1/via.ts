/**
 * `Via` (RFC 9110 §7.6.3): what a request gets of it here, and how often it has been through a proxy of our name. A
 * backend that is the proxy itself sends requests round in circles: they end here, before their fields are too many.
 */
import { asciiBytes, eachListElement, equalsIgnoringCase, SPACE, TAB } from './bytes.ts';

const PSEUDONYM = 'kontrol';
const LOWER_PSEUDONYM = asciiBytes(PSEUDONYM);

/** A request that has been through so many goes in circles; tiers of proxies on purpose are fewer. */
export const MAX_PASSES = 5;

/** The line of a request that came by this protocol. */
export const VIA = {
  'HTTP/1.0': `Via: 1.0 ${PSEUDONYM}\r\n`,
  'HTTP/1.1': `Via: 1.1 ${PSEUDONYM}\r\n`,
  'HTTP/2.0': `Via: 2.0 ${PSEUDONYM}\r\n`,
} as const;

/** How many proxies of our name the value `start`…`end` names. */
export function passesIn(buffer: Buffer, start: number, end: number): number {
  let passes = 0;
  eachListElement(buffer, start, end, (from, to) => {
    // A protocol, who received it by that, and perhaps a comment.
    const name = afterWord(buffer, from, to, true);
    if (equalsIgnoringCase(buffer, name, afterWord(buffer, name, to, false), LOWER_PSEUDONYM)) passes++;
  });
  return passes;
}

/** Where the word that begins at `start` ends; with `blanks`, where the next one begins. */
function afterWord(buffer: Buffer, start: number, end: number, blanks: boolean): number {
  let at = start;
  // In range: `end` lies in the buffer.
  while (at < end && !isBlank(buffer[at] as number)) at++;
  if (blanks) while (at < end && isBlank(buffer[at] as number)) at++;
  return at;
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}
