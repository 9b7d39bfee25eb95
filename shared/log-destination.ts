/**
 * Where the lines of a log go. Promises: writing never blocks, never throws and never ends the process; lines of several
 * processes in one file or pipe are never torn; a destination that is stuck, full or gone costs lines, which are counted.
 */
import { closeSync, constants, fstatSync, openSync, type Stats, writeSync, writev } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';

const PAGE_BYTES = 65_536;
/** With the pages at most 1 MB waits; lines beyond that are dropped. */
const MAX_PAGES = 16;
/** PIPE_BUF of Linux: what a pipe takes whole or not at all, so that lines of several processes do not mix. */
const PIPE_BATCH_BYTES = 4_096;
/** Longest line to a file; longer ones would not fit beside others in a page. */
const FILE_LINE_BYTES = 32_768;
/** Lines wait this long for others to be written with. */
const FLUSH_MS = 50;
const FIRST_RETRY_MS = 5;
const SLOWEST_RETRY_MS = 100;
/** Owner may write, group may read: lines hold addresses of visitors. */
const FILE_MODE = 0o640;

interface Page {
  readonly bytes: Buffer;
  /** Batches of it that are not written yet. */
  waiting: number;
}

interface Batch {
  readonly page: Page;
  start: number;
  readonly end: number;
  readonly lines: number;
}

/** An open destination. `direct`: not a disk, so `write(2)` answers at once (EAGAIN when full). */
interface Target {
  readonly fd: number;
  readonly direct: boolean;
  /** Whether this sink opened it and so closes it; 1 and 2 stay open, or their numbers would be given to other files. */
  readonly own: boolean;
  /** Holds the descriptor in non-blocking mode; never written to. */
  readonly keeper: Socket | null;
}

export interface LineSinkOptions {
  /** Called when writing begins to fail, with the reason, and with null when it works again. */
  readonly onTrouble?: (reason: string | null) => void;
}

export class LineSink {
  /** Longest line in bytes, with its line feed; longer ones are dropped. */
  readonly lineLimit: number;
  readonly #path: string | null;
  readonly #onTrouble: (reason: string | null) => void;
  #target: Target;
  #page: Page = newPage();
  #pages = 1;
  readonly #free: Page[] = [];
  readonly #queue: Batch[] = [];
  /** The lines that are not in a batch yet: [start, end) of the current page. */
  #start = 0;
  #end = 0;
  #lines = 0;
  #dropped = 0;
  /** How many batches at the head of the queue another thread is writing. */
  #writing = 0;
  #reopening = false;
  #trouble = false;
  /** Nobody reads the pipe any more: nothing is tried until it is opened again. */
  #gone = false;
  #closed = false;
  #flush: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #retryMs = FIRST_RETRY_MS;
  #drained: (() => void)[] = [];

  private constructor(target: Target, path: string | null, options: LineSinkOptions) {
    this.#target = target;
    this.#path = path;
    this.#onTrouble = options.onTrouble ?? (() => {});
    this.lineLimit = target.direct ? PIPE_BATCH_BYTES : FILE_LINE_BYTES;
    openSinks.add(this);
  }

  /** Appends to a file (or named pipe), which is created when it is not there. Throws when it cannot be opened. */
  static toFile(path: string, options: LineSinkOptions = {}): LineSink {
    return new LineSink(openPath(path), path, options);
  }

  /** Writes to a descriptor that is open already; it stays open. */
  static toDescriptor(fd: number, options: LineSinkOptions = {}): LineSink {
    return new LineSink(adopt(fd), null, options);
  }

  /** Lines lost so far because the destination was stuck, full or gone. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes one line, which must end in its only line feed. */
  write(line: string): void {
    const most = line.length * 3;
    const room = most <= this.lineLimit ? most : Buffer.byteLength(line);
    const at = this.claim(room);
    if (at >= 0) this.commit(at + this.#page.bytes.write(line, at));
  }

  /**
   * The offset in `buffer` where a line of at most `room` bytes may be written now, to be followed by `commit` before
   * anything else happens; or -1 when the line is dropped.
   */
  claim(room: number): number {
    if (room <= PAGE_BYTES - this.#end && room <= this.lineLimit && !this.#gone && !this.#closed) {
      return this.#end;
    }
    if (room > this.lineLimit || this.#gone || this.#closed || !this.#turnPage()) {
      this.#dropped++;
      return -1;
    }
    return this.#end;
  }

  /** What `claim` gives offsets of. Changes with each `claim`. */
  get buffer(): Buffer {
    return this.#page.bytes;
  }

  /** The line that was claimed ends before offset `end`. */
  commit(end: number): void {
    if (this.#target.direct && end - this.#start > PIPE_BATCH_BYTES) {
      this.#cut();
      this.#pump();
    }
    this.#end = end;
    this.#lines++;
    this.#flush ??= setTimeout(() => this.flush(), FLUSH_MS).unref();
  }

  /** Writes what waits without waiting for more. */
  flush(): void {
    if (this.#flush !== null) clearTimeout(this.#flush);
    this.#flush = null;
    this.#cut();
    this.#pump();
  }

  /** Opens the file by its name again (after it was renamed). Does nothing for a descriptor. */
  reopen(): void {
    if (this.#path === null || this.#closed) return;
    this.#reopening = true;
    this.#pump();
  }

  /** Writes what waits; resolves when it is written, or after `ms`. */
  async drain(ms = 500): Promise<void> {
    this.flush();
    if (this.#queue.length === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#drained.push(resolve);
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }

  /** Writes what waits, for at most `ms`, then closes what this sink opened. Later lines are dropped. */
  async close(ms = 500): Promise<void> {
    if (!this.#closed) {
      this.flush();
      this.#closed = true;
    }
    await this.drain(ms);
    if (!openSinks.delete(this)) return;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#dropAll();
    if (this.#writing === 0) release(this.#target);
  }

  /** Writes what waits before the process ends. A pipe that is full loses it; nothing waits. */
  flushAtExit(): void {
    this.#cut();
    // What is under way in another thread will be written by it.
    for (const batch of this.#queue.slice(this.#writing)) {
      try {
        writeSync(this.#target.fd, batch.page.bytes, batch.start, batch.end - batch.start);
      } catch {
        return;
      }
    }
  }

  #cut(): void {
    if (this.#lines === 0) return;
    this.#queue.push({ page: this.#page, start: this.#start, end: this.#end, lines: this.#lines });
    this.#page.waiting++;
    this.#start = this.#end;
    this.#lines = 0;
  }

  /** Begins a page, also when the present one is not full; false when all are waiting to be written. */
  #turnPage(): boolean {
    this.#cut();
    this.#pump();
    if (this.#page.waiting > 0) {
      const next = this.#free.pop();
      if (next === undefined && this.#pages >= MAX_PAGES) return false;
      if (next === undefined) this.#pages++;
      this.#page = next ?? newPage();
    }
    this.#start = 0;
    this.#end = 0;
    return true;
  }

  #openAgain(path: string): void {
    this.#reopening = false;
    try {
      const target = openPath(path);
      release(this.#target);
      this.#target = target;
      this.#gone = false;
    } catch (error) {
      // The old file goes on being written: better a line in the wrong file than none.
      this.#fail(`cannot open ${path} again (${codeOf(error)})`);
    }
  }

  #pump(): void {
    // Not while another thread still writes to the old one.
    if (this.#reopening && this.#writing === 0 && this.#path !== null) this.#openAgain(this.#path);
    while (this.#writing === 0 && this.#retry === null) {
      const batch = this.#queue[0];
      if (batch === undefined) break;
      if (!this.#target.direct) {
        this.#writing = this.#queue.length;
        const pieces = this.#queue.map(({ page, start, end }) => page.bytes.subarray(start, end));
        writev(this.#target.fd, pieces, this.#written);
        return;
      }
      try {
        const { page, start, end } = batch;
        this.#advance(batch, writeSync(this.#target.fd, page.bytes, start, end - start));
      } catch (error) {
        this.#refused(error);
      }
    }
  }

  readonly #written = (error: Error | null, count: number): void => {
    this.#writing = 0;
    if (error !== null) this.#refused(error);
    for (let left = count; error === null && left > 0; ) {
      const batch = this.#queue[0];
      if (batch === undefined) break;
      const part = Math.min(left, batch.end - batch.start);
      left -= part;
      this.#advance(batch, part);
    }
    if (!openSinks.has(this)) release(this.#target);
    else this.#pump();
  };

  #advance(batch: Batch, count: number): void {
    batch.start += count;
    if (batch.start >= batch.end) this.#finish(batch);
    this.#retryMs = FIRST_RETRY_MS;
    if (this.#trouble) {
      this.#trouble = false;
      this.#onTrouble(null);
    }
  }

  #finish(batch: Batch): void {
    this.#queue.shift();
    if (--batch.page.waiting === 0 && batch.page !== this.#page) {
      if (this.#free.length < 1) this.#free.push(batch.page);
      else this.#pages--;
    }
    if (this.#queue.length === 0) for (const resolve of this.#drained.splice(0)) resolve();
  }

  #refused(error: unknown): void {
    const code = codeOf(error);
    if (code === 'EAGAIN') {
      this.#retry = setTimeout(() => {
        this.#retry = null;
        this.#pump();
      }, this.#retryMs).unref();
      this.#retryMs = Math.min(this.#retryMs * 2, SLOWEST_RETRY_MS);
      return;
    }
    if (this.#target.direct) {
      this.#gone = true;
      this.#dropAll();
    } else {
      // A full disk: these lines are lost, the next ones are tried again.
      const batch = this.#queue[0];
      if (batch !== undefined) {
        this.#dropped += batch.lines;
        this.#finish(batch);
      }
    }
    this.#fail(`cannot write to ${this.#path ?? `descriptor ${this.#target.fd}`} (${code})`);
  }

  #fail(reason: string): void {
    if (this.#trouble) return;
    this.#trouble = true;
    this.#onTrouble(reason);
  }

  #dropAll(): void {
    this.#cut();
    if (this.#writing > 0) return;
    for (let batch = this.#queue[0]; batch !== undefined; batch = this.#queue[0]) {
      this.#dropped += batch.lines;
      this.#finish(batch);
    }
  }
}

const openSinks = new Set<LineSink>();
process.on('exit', () => {
  for (const sink of openSinks) sink.flushAtExit();
});

const standard = new Map<number, LineSink>();

/** The one sink of this process for stdout (1) or stderr (2). */
export function standardSink(fd: 1 | 2): LineSink {
  let sink = standard.get(fd);
  if (sink === undefined) {
    sink = LineSink.toDescriptor(fd);
    standard.set(fd, sink);
  }
  return sink;
}

/** Lets every sink write what waits, for at most `ms`: to be awaited before `process.exit`. */
export async function drainSinks(ms = 500): Promise<void> {
  await Promise.all([...openSinks].map((sink) => sink.drain(ms)));
}

function newPage(): Page {
  return { bytes: Buffer.allocUnsafeSlow(PAGE_BYTES), waiting: 0 };
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException)?.code ?? String(error);
}

/** O_NONBLOCK keeps the open of a named pipe that nobody reads from hanging, and its writes from blocking. */
function openPath(path: string): Target {
  const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
  const fd = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, FILE_MODE);
  return { fd, direct: isDirect(fd, fstatSync(fd)), own: true, keeper: null };
}

/**
 * Makes an inherited descriptor non-blocking. A pipe or terminal is opened anew where the system allows, since the flag
 * would hold for every program that shares it, and any of them could take it away again.
 */
function adopt(fd: number): Target {
  let stats: Stats;
  try {
    stats = fstatSync(fd);
  } catch {
    // The descriptor was closed before we started: every write will say so.
    return { fd, direct: true, own: false, keeper: null };
  }
  if (!isDirect(fd, stats)) return { fd, direct: false, own: false, keeper: null };
  if (!stats.isSocket()) {
    try {
      const { O_APPEND, O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
      const again = openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY);
      return { fd: again, direct: true, own: true, keeper: null };
    } catch {
      // No /proc, or the pipe belongs to another user: the flag is set on the descriptor itself below.
    }
  }
  return { fd, direct: true, own: false, keeper: keepNonBlocking(fd) };
}

/** libuv sets O_NONBLOCK on what it opens. (A terminal is refused here and stays as it is: only its user can stop it.) */
function keepNonBlocking(fd: number): Socket | null {
  try {
    const socket = new Socket({ fd, readable: false, writable: true });
    socket.on('error', () => {});
    socket.unref();
    return socket;
  } catch {
    return null;
  }
}

function isDirect(fd: number, stats: Stats): boolean {
  return stats.isFIFO() || stats.isSocket() || isatty(fd);
}

function release(target: Target): void {
  if (!target.own) return;
  try {
    closeSync(target.fd);
  } catch {
    // It is closed already, which is what was wanted.
  }
}
