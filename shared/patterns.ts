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
/** Longest subject that is looked at, in characters; longer ones never match. */
export const MAX_SUBJECT_LENGTH = 16_384;

/** A compiled pattern. */
export interface Pattern {
  readonly source: string;
  /** True when the pattern matches anywhere in `subject`. */
  test(subject: string): boolean;
  /** True when the pattern matches all of `subject`. */
  matches(subject: string): boolean;
  /** Replaces the first match; `$1`…`$9` and `$0` in `replacement` are groups. Null when nothing matches. */
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
    test: (subject) => subject.length <= MAX_SUBJECT_LENGTH && compiled.test(subject),
    matches: (subject) => subject.length <= MAX_SUBJECT_LENGTH && compiled.testExact(subject),
    replace(subject, replacement) {
      if (subject.length > MAX_SUBJECT_LENGTH) return null;
      const matcher = compiled.matcher(subject);
      return matcher.find() ? matcher.replaceFirst(replacement) : null;
    },
  };
}

/** Counted repeats multiply the program before its size can be read, so their product is bounded first. */
function refuseHugeRepeats(source: string): void {
  let product = 1;
  for (const match of source.matchAll(/\{(\d+)(?:,(\d*))?\}/g)) {
    product *= Math.max(1, Number(match[2] || match[1]));
    if (product > MAX_PROGRAM_SIZE)
      throw new Error('the counted repeats of the pattern multiply to too many');
  }
}
