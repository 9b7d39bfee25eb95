/**
 * What every part of Kontrol needs of a log. Events have a stable `code` (snake_case) that operators can alert on;
 * fields carry the details; the message is for people. The destination (see `shared/log-destination.ts`) never
 * blocks and never ends the process.
 */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(code: string, message: string, fields?: LogFields): void;
  info(code: string, message: string, fields?: LogFields): void;
  warn(code: string, message: string, fields?: LogFields): void;
  error(code: string, message: string, fields?: LogFields): void;
  /** A log whose every line also carries `fields`. */
  child(fields: LogFields): Log;
}

/** Says nothing; for tests and for parts that are used as a library. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
};
