/**
 * Makes the log of a process: one JSON line per event with time, level, name, pid, code and message. No event can
 * throw, block, forge a line, show the password of a URL, or fill the disk by repeating itself.
 */
import pino from 'pino';
import type { Log, LogFields, LogLevel } from './log.ts';
import { type LineSink, standardSink } from './log-destination.ts';
import { redactUrls } from './settings-values.ts';

export interface LogOptions {
  readonly level: LogLevel;
  /** Which process speaks: `up`, `api`, `primary`, `sync`, `serving`. */
  readonly name: string;
  /** On every line. */
  readonly fields?: LogFields;
  /** Default: stderr. */
  readonly sink?: LineSink;
  /** Lines per code and second; the rest are counted and summed up in one line. Default 100. */
  readonly perSecond?: number;
}

/** What every line has; a field of one of these names gets a `_` behind it. */
const RESERVED = new Set(['time', 'level', 'name', 'pid', 'code', 'msg']);
/** Codes that are counted apart; a code made of changing parts would otherwise grow the map for ever. */
const MAX_CODES = 1_000;
const WINDOW_MS = 1_000;

export function createLog(options: LogOptions): Log {
  const sink = options.sink ?? standardSink(2);
  const output = new Output(sink);
  const logger = pino(
    {
      level: options.level,
      base: { name: options.name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Errors are described below, under whatever name they come.
      serializers: { err: (value: unknown) => value },
      depthLimit: 6,
      edgeLimit: 100,
    },
    output,
  );
  const gate = new Gate(options.perSecond ?? 100, (code, count) => {
    logger.warn(plain({ suppressed: count }, code), 'this event came too often; so many were left out');
  });
  output.onLoss = (count) =>
    logger.warn({ code: 'log_lines_dropped', count }, 'the log could not be written for a while');
  return new PinoLog(logger, gate, sink, plainFields(options.fields ?? {}));
}

class PinoLog implements Log {
  readonly #logger: pino.Logger;
  readonly #gate: Gate;
  readonly #sink: LineSink;
  readonly #fields: LogFields;

  constructor(logger: pino.Logger, gate: Gate, sink: LineSink, fields: LogFields) {
    this.#logger = logger;
    this.#gate = gate;
    this.#sink = sink;
    this.#fields = fields;
  }

  debug(code: string, message: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled('debug')) this.#say('debug', code, message, fields);
  }

  info(code: string, message: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled('info')) this.#say('info', code, message, fields);
  }

  warn(code: string, message: string, fields?: LogFields): void {
    if (this.#logger.isLevelEnabled('warn')) this.#say('warn', code, message, fields);
  }

  error(code: string, message: string, fields?: LogFields): void {
    this.#say('error', code, message, fields);
    // What follows an error may be the end of the process.
    this.#sink.flush();
  }

  child(fields: LogFields): Log {
    return new PinoLog(this.#logger, this.#gate, this.#sink, { ...this.#fields, ...plainFields(fields) });
  }

  #say(level: LogLevel, code: string, message: string, fields: LogFields | undefined): void {
    try {
      if (!this.#gate.admit(code)) return;
      this.#logger[level](plain({ ...this.#fields, ...plainFields(fields ?? {}) }, code), message);
    } catch (error) {
      // A getter or toJSON of a field threw: the event itself must not be lost, nor the caller hurt.
      this.#logger[level]({ code, fieldsFailed: String((error as Error)?.message) }, message);
    }
  }
}

function plain(fields: LogFields, code: string): LogFields {
  return { code, ...fields };
}

/** Errors as objects (JSON knows nothing of them), and no field that hides one of ours. */
function plainFields(fields: LogFields): LogFields {
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    result[RESERVED.has(key) ? `${key}_` : key] = value instanceof Error ? describe(value) : value;
  }
  return result;
}

function describe(error: Error, depth = 0): object {
  const { code, cause } = error as NodeJS.ErrnoException & { cause?: unknown };
  return {
    type: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    stack: error.stack,
    ...(cause instanceof Error && depth < 3 ? { cause: describe(cause, depth + 1) } : {}),
  };
}

/** At most so many lines per code and second. */
class Gate {
  readonly #limit: number;
  readonly #onSuppressed: (code: string, count: number) => void;
  readonly #counts = new Map<string, number>();
  #windowStart = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(limit: number, onSuppressed: (code: string, count: number) => void) {
    this.#limit = limit;
    this.#onSuppressed = onSuppressed;
  }

  admit(code: string): boolean {
    const now = performance.now();
    if (now - this.#windowStart >= WINDOW_MS) this.#turn(now);
    const counted = this.#counts.has(code) || this.#counts.size < MAX_CODES ? code : 'other';
    const count = (this.#counts.get(counted) ?? 0) + 1;
    this.#counts.set(counted, count);
    if (count > this.#limit) {
      // Said also when nothing else happens afterwards.
      this.#timer ??= setTimeout(() => this.#turn(performance.now()), WINDOW_MS).unref();
    }
    return count <= this.#limit;
  }

  #turn(now: number): void {
    this.#windowStart = now;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const over = [...this.#counts].filter(([, count]) => count > this.#limit);
    this.#counts.clear();
    for (const [code, count] of over) this.#onSuppressed(code, count - this.#limit);
  }
}

/** Between pino and the sink: keeps lines within the limit and free of credentials, and tells of losses. */
class Output {
  onLoss: (count: number) => void = () => {};
  readonly #sink: LineSink;
  #told = 0;

  constructor(sink: LineSink) {
    this.#sink = sink;
    this.#told = sink.dropped;
  }

  write(line: string): void {
    const safe = redactUrls(line);
    const fits = safe.length * 3 <= this.#sink.lineLimit || Buffer.byteLength(safe) <= this.#sink.lineLimit;
    const before = this.#sink.dropped;
    this.#sink.write(fits ? safe : shorten(safe, this.#sink.lineLimit));
    const lost = this.#sink.dropped - this.#told;
    if (lost === 0 || this.#sink.dropped !== before) return;
    this.#told = this.#sink.dropped;
    this.onLoss(lost);
  }
}

/** The same line with its texts cut; as a last resort without its fields. Always valid JSON of at most `limit` bytes. */
function shorten(line: string, limit: number): string {
  const { time, level, name, pid, code, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const base = { level, time, name, pid, code: String(code).slice(0, 64) };
  for (const length of [1_024, 256, 64]) {
    const cut = JSON.stringify({ ...base, ...fields, msg, truncated: true }, (_key, value) =>
      typeof value === 'string' && value.length > length ? `${value.slice(0, length)}…` : value,
    );
    if (Buffer.byteLength(cut) < limit) return `${cut}\n`;
  }
  return `${JSON.stringify({ ...base, msg: String(msg).slice(0, 256), truncated: true })}\n`;
}
