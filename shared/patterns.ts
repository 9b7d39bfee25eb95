/**
 * Regular expressions that people write into routes, hosts and rules. They run on a linear-time engine, and both
 * the size of the compiled program and the length of the subject are bounded, so no pattern and no visitor can
 * make one slow. Refusing a pattern happens when it is saved, never while a request waits.
 */
import { RE2JS } from 're2js';

/** Longest source of a pattern, in characters. */
export const MAX_PATTERN_LENGTH = 256;
/** Largest compiled program, in instructions; about 1 ms to compile. */
export const MAX_PROGRAM_SIZE = 2_000;
/** Most that the patterns of one object may weigh together (`patternWeight`); about a thousand ordinary ones, at most about 0.3 s to compile. */
export const MAX_PATTERNS_WEIGHT = 100_000;
/** Longest subject that is looked at, in characters; longer ones never match. */
export const MAX_SUBJECT_LENGTH = 16_384;

/** A compiled pattern. */
export interface Pattern {
  readonly source: string;
  /** Number of its capturing groups. */
  readonly groups: number;
  /** True when the pattern matches anywhere in `subject`. */
  test(subject: string): boolean;
  /** True when the pattern matches all of `subject`. */
  matches(subject: string): boolean;
  /**
   * Replaces the first match; `$1`…`$9` and `$0` in `replacement` are groups, one that took no part or does not
   * exist is empty, any other `$` stands for itself. Null when nothing matches.
   */
  replace(subject: string, replacement: string): string | null;
}

/**
 * Compiles `source` (RE2 syntax, without a leading `~`). Throws an Error whose message says what is wrong with it:
 * too long, bad syntax, or a program that is too large.
 */
export function compilePattern(source: string): Pattern {
  if (source.length > MAX_PATTERN_LENGTH) {
    throw new Error(`the pattern has ${source.length} characters; at most ${MAX_PATTERN_LENGTH} are allowed`);
  }
  refuseHugeRepeats(source);
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(source);
  } catch (error) {
    throw new Error(`not a valid regular expression: ${(error as Error).message}`);
  }
  const size = compiled.programSize();
  if (size > MAX_PROGRAM_SIZE) {
    throw new Error(`the pattern is too complex (${size} instructions; at most ${MAX_PROGRAM_SIZE})`);
  }
  return {
    source,
    groups: compiled.groupCount(),
    test: (subject) => subject.length <= MAX_SUBJECT_LENGTH && compiled.test(subject),
    matches: (subject) => subject.length <= MAX_SUBJECT_LENGTH && compiled.testExact(subject),
    replace: (subject, replacement) =>
      subject.length <= MAX_SUBJECT_LENGTH ? replaceFirst(compiled, subject, replacement) : null,
  };
}

/** Done here because the engine's own replacement throws on a group that does not exist and has more `$` forms. */
function replaceFirst(compiled: RE2JS, subject: string, replacement: string): string | null {
  const matcher = compiled.matcher(subject);
  if (!matcher.find()) return null;
  const groups = matcher.groupCount();
  const put = replacement.replace(/\$(\d)/g, (_, digit: string) =>
    Number(digit) <= groups ? (matcher.group(Number(digit)) ?? '') : '',
  );
  return subject.slice(0, matcher.start()) + put + subject.slice(matcher.end());
}

/**
 * What compiling `source` costs, told without compiling it, in units of about 2 µs: its length and repeats, a share
 * for being a pattern at all, and what classes cost, of which `\pL` has hundreds of ranges. Patterns that are
 * refused anyway for their length or repeats weigh nothing.
 */
export function patternWeight(source: string): number {
  if (source.length > MAX_PATTERN_LENGTH) return 0;
  const size = estimatedSize(source);
  if (size > MAX_PROGRAM_SIZE) return 0;
  return 50 + source.length + size + 30 * (source.match(/\[|\\[pP]/g)?.length ?? 0);
}

function refuseHugeRepeats(source: string): void {
  if (estimatedSize(source) > MAX_PROGRAM_SIZE) {
    throw new Error('the counted repeats of the pattern multiply to too much; use * or +');
  }
}

/**
 * Counted repeats multiply the program before its size can be read (`(a?){1000}` twenty times takes a third of a
 * second to compile), so its size is estimated first: one for each character outside a class, times its repeats.
 * Ends as soon as it is too large.
 */
function estimatedSize(source: string): number {
  // One frame for each open group: the size so far, and of its last atom, which a repeat multiplies.
  const frames = [{ size: 0, atom: 0 }];
  for (const [token, least, most] of source.matchAll(TOKENS)) {
    const frame = frames.at(-1) as { size: number; atom: number };
    if (token === '(') {
      frames.push({ size: 0, atom: 0 });
    } else if (token === ')' && frames.length > 1) {
      frames.pop();
      const outer = frames.at(-1) as { size: number; atom: number };
      outer.atom = frame.size + 1;
      outer.size += outer.atom;
    } else if (least !== undefined) {
      const repeats = Math.max(1, Number(most || least));
      frame.size += frame.atom * (repeats - 1);
      frame.atom *= repeats;
    } else {
      frame.atom = 1;
      frame.size += 1;
    }
    if (frame.size > MAX_PROGRAM_SIZE) return frame.size;
  }
  return frames.reduce((sum, frame) => sum + frame.size, 0);
}

/** Quoted text, escapes with braces, other escapes, classes, counted repeats (least, most), single characters. */
const TOKENS =
  /\\Q.*?(?:\\E|$)|\\[pPx]\{[^}]*\}|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\{(\d+)(?:,(\d*))?\}|./gs;
