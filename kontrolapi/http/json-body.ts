/**
 * Reads the JSON body of a request: bounded in bytes and depth, strict Unicode, an object at its top, and without
 * names that mean something to prototypes. What fails here has changed nothing.
 */
import type { IncomingMessage } from 'node:http';
import { KontrolError } from '../../shared/errors.ts';

/** Deepest nesting of a body; no object of ours needs half of it. */
const MAX_DEPTH = 32;
/** Most values in a body; what fills 16 MB with fewer characters each is no list of objects but an attempt on our time. */
const MAX_VALUES = 1_000_000;
/**
 * Most fields of one object; no map of ours has half as many. Objects with more become dictionaries, whose every copy
 * costs a second for half a million fields.
 */
const MAX_FIELDS = 20_000;
const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];
const MEDIA_TYPES = new Set(['application/json', 'application/merge-patch+json']);

/**
 * The parsed body, or undefined when there is none. Throws KontrolError `media_type`, `too_large`, `not_json` or
 * `invalid`.
 */
export async function readJsonBody(
  request: IncomingMessage,
  limit: number,
): Promise<Record<string, unknown> | undefined> {
  const declared = request.headers['content-length'];
  if (declared === undefined && request.headers['transfer-encoding'] === undefined) return undefined;
  if (declared === '0') return undefined;
  checkMediaType(request);
  if (declared !== undefined && Number(declared) > limit) throw tooLarge(limit);
  const bytes = await readBytes(request, limit);
  if (bytes.length === 0) return undefined;
  refuseBomb(bytes);
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new KontrolError('not_json', 'The body is not valid UTF-8; send JSON in UTF-8');
  }
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new KontrolError('not_json', `The body is not valid JSON: ${(error as Error).message}`);
  }
  checkShape(value);
  return value as Record<string, unknown>;
}

function checkMediaType(request: IncomingMessage): void {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (!MEDIA_TYPES.has(type)) {
    throw new KontrolError('media_type', 'Send the body with Content-Type: application/json');
  }
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new KontrolError('media_type', 'Send the body without Content-Encoding');
  }
}

function tooLarge(limit: number): KontrolError {
  return new KontrolError('too_large', `The body of this call has at most ${limit} bytes`);
}

/** Stops keeping at the limit but goes on reading, so that the client gets to see its answer. */
function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let size = 0;
    const settle = () => {
      request.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken);
    };
    const onData = (piece: Buffer) => {
      size += piece.length;
      if (size <= limit) {
        pieces.push(piece);
        return;
      }
      settle();
      request.on('error', () => {}).resume();
      reject(tooLarge(limit));
    };
    const onEnd = () => {
      settle();
      resolve(Buffer.concat(pieces, size));
    };
    const onBroken = () => {
      settle();
      reject(new KontrolError('not_json', 'The body broke off before its end'));
    };
    request.on('data', onData).on('end', onEnd).on('error', onBroken).on('close', onBroken);
  });
}

/** Looks at the bytes alone: to parse millions of values, or levels, would hold up all others for seconds. */
function refuseBomb(bytes: Buffer): void {
  let inString = false;
  let depth = 0;
  let commas = 0;
  // Of each level that is open: commas of an object, or minus infinity for a list, which may be as long as it likes.
  const fields = new Float64Array(MAX_DEPTH + 1);
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) inString = !inString;
    else if (inString) {
      if (byte === BACKSLASH) at++;
    } else if (byte === COMMA) {
      if (++commas > MAX_VALUES) throw tooManyValues();
      // Out of range only where brackets do not match, which is told when it is parsed.
      fields[depth] = (fields[depth] ?? 0) + 1;
      if ((fields[depth] ?? 0) >= MAX_FIELDS) throw tooManyFields();
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (++depth > MAX_DEPTH) throw tooDeep();
      fields[depth] = byte === OPEN_BRACE ? 0 : Number.NEGATIVE_INFINITY;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
  }
}

function tooManyValues(): KontrolError {
  return new KontrolError('invalid', `The body has more than ${MAX_VALUES} values; send it in parts`);
}

function tooManyFields(): KontrolError {
  return new KontrolError('invalid', `An object of the body has more than ${MAX_FIELDS} fields`);
}

function tooDeep(): KontrolError {
  return new KontrolError('invalid', `The body is nested deeper than ${MAX_DEPTH} levels`);
}

/** Walks without recursion, so that depth costs no stack. */
function checkShape(root: unknown): void {
  if (typeof root !== 'object' || root === null || Array.isArray(root)) {
    throw new KontrolError('invalid', 'The body is a JSON object', [
      { path: '', message: 'expected an object' },
    ]);
  }
  let values = 0;
  const open: { value: object; path: string }[] = [{ value: root, path: '' }];
  const look = (value: unknown, key: string | number, within: string): void => {
    if (typeof value === 'string') {
      if (!isWellFormed(value)) throw notUnicode(pathOf(within, key));
    } else if (typeof value === 'object' && value !== null) {
      open.push({ value, path: pathOf(within, key) });
    }
  };
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const keys = Array.isArray(at.value) ? null : Object.keys(at.value);
    values += keys === null ? (at.value as unknown[]).length : keys.length;
    if (values > MAX_VALUES) throw tooManyValues();
    if (keys === null) {
      for (const [index, value] of (at.value as unknown[]).entries()) look(value, index, at.path);
      continue;
    }
    const members = at.value as Readonly<Record<string, unknown>>;
    for (const key of keys) {
      if (key === '__proto__') {
        throw new KontrolError('invalid', 'The object is not valid', [
          { path: pathOf(at.path, key), message: 'unknown field' },
        ]);
      }
      if (!isWellFormed(key)) throw notUnicode(at.path);
      look(members[key], key, at.path);
    }
  }
}

function pathOf(within: string, key: string | number): string {
  return within === '' ? String(key) : `${within}.${key}`;
}

/** Half of a surrogate pair: a store that keeps UTF-8 would give back another text than was checked and told to nodes. */
const LONE_SURROGATE = /\p{Surrogate}/u;

function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

function notUnicode(path: string): KontrolError {
  return new KontrolError('invalid', 'The body is not valid', [
    { path, message: 'not valid Unicode: half of a surrogate pair stands alone (\\ud800 to \\udfff)' },
  ]);
}
