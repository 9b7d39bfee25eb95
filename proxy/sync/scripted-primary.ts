/** For tests: a primary with serving processes in memory, which keep a table as told, acknowledge, and die on demand. */
import type { TableEntry } from '../../shared/routing/entry.ts';
import type { FromServing, ListenerSpec, Question, Relayed, ToServing } from '../link/messages.ts';
import type { FromPrimary, Link, ToPrimary } from './link.ts';

export class ScriptedServing {
  readonly id: number;
  readonly pid: number;
  readonly table = new Map<string, TableEntry>();
  /** Everything it was sent, in order. */
  readonly received: ToServing[] = [];
  state: 'starting' | 'ready' | 'draining' = 'starting';
  seq = -1;
  noTable = false;
  /** Changes stay unanswered while this is false. */
  answers = true;
  /** How it answers questions; null keeps silent. */
  answersTo: ((about: Question) => unknown) | null = () => [];
  readonly #primary: ScriptedPrimary;
  #loading: TableEntry[] = [];
  #held: FromServing[] = [];

  constructor(primary: ScriptedPrimary, id: number) {
    this.#primary = primary;
    this.id = id;
    this.pid = 1_000 + id;
  }

  receive(message: ToServing): void {
    this.received.push(message);
    const entries = 'entries' in message ? message.entries : [];
    if (this.#primary.sick || entries.some((entry) => this.#primary.deadly(entry))) {
      this.#primary.kill(this.id);
      return;
    }
    switch (message.type) {
      case 'load':
        this.#loading = [];
        break;
      case 'entries':
        this.#loading.push(...entries);
        if (message.last) {
          this.table.clear();
          this.#apply(this.#loading);
          this.seq = message.seq;
          this.#say({ type: 'loaded', generation: message.generation, seq: message.seq, rejected: [] });
          this.#ready();
        }
        break;
      case 'change':
        this.#apply(entries);
        this.seq = message.seq;
        this.#say({ type: 'applied', change: message.change, seq: message.seq, rejected: [] });
        break;
      case 'ask':
        if (this.answersTo !== null) {
          this.#say({ type: 'answer', n: message.n, answer: this.answersTo(message.about) });
        }
        break;
      case 'no-table':
        this.noTable = true;
        this.#ready();
        break;
    }
  }

  /** Sends what was held back. */
  answer(): void {
    this.answers = true;
    const held = this.#held;
    this.#held = [];
    for (const message of held) this.#primary.fromServing(this.id, message);
  }

  names(kind: string): string[] {
    return [...this.table.values()]
      .filter((entry) => entry.kind === kind)
      .map((entry) => entry.name)
      .sort();
  }

  #apply(entries: readonly TableEntry[]): void {
    for (const entry of entries) {
      const key = `${entry.kind}/${entry.name}`;
      if (entry.doc === null && entry.broken === undefined) this.table.delete(key);
      else this.table.set(key, entry);
    }
  }

  #say(message: FromServing): void {
    if (this.answers) this.#primary.fromServing(this.id, message);
    else this.#held.push(message);
  }

  #ready(): void {
    if (this.state !== 'starting') return;
    this.state = 'ready';
    this.#primary.announce();
  }
}

export class ScriptedPrimary implements Link {
  readonly serving = new Map<number, ScriptedServing>();
  /** What sync said to the primary itself. */
  readonly heard: Exclude<ToPrimary, Relayed>[] = [];
  /** Entries that kill the process that gets them. */
  deadly: (entry: TableEntry) => boolean = () => false;
  /** Every process dies of its first message. */
  sick = false;
  /** What becomes of a socket that is wanted: null opens it, a text is why it cannot be; undefined says nothing. */
  opens: (spec: ListenerSpec) => string | null | undefined = () => null;
  /** Whether a process that died is replaced at once. */
  respawns = true;
  deaths = 0;
  receiver: (message: FromPrimary) => void = () => {};
  #lastId = 0;
  #closed = false;

  send(message: ToPrimary, sent: () => void): void {
    setImmediate(() => {
      if (!this.#closed) this.#take(message);
      sent();
    });
  }

  /** Starts a serving process, which says hello. */
  spawn(): ScriptedServing {
    const process = new ScriptedServing(this, ++this.#lastId);
    this.serving.set(process.id, process);
    this.announce();
    this.fromServing(process.id, { type: 'hello', pid: process.pid });
    return process;
  }

  kill(id: number): void {
    if (!this.serving.delete(id)) return;
    this.deaths++;
    this.#tell({ type: 'gone', id });
    this.announce();
    if (this.respawns) this.spawn();
  }

  announce(): void {
    this.#tell({
      type: 'processes',
      processes: [
        { role: 'primary', id: 0, pid: 1, state: 'ready' },
        { role: 'sync', id: 0, pid: 2, state: 'ready' },
        ...[...this.serving.values()].map(({ id, pid, state }) => ({
          role: 'serving' as const,
          id,
          pid,
          state,
        })),
      ],
    });
  }

  /** Says what became of a socket. */
  listens(spec: ListenerSpec): void {
    const { key, port } = spec;
    const reason = this.opens(spec);
    if (reason === null) this.#tell({ type: 'listening', key, port });
    else if (reason !== undefined) this.#tell({ type: 'listen-failed', key, reason });
  }

  fromServing(from: number, message: FromServing): void {
    this.#tell({ relay: 'from-serving', from, message });
  }

  /** No message gets through any more, as after the end of either process. */
  close(): void {
    this.#closed = true;
  }

  #tell(message: FromPrimary): void {
    setImmediate(() => {
      if (!this.#closed) this.receiver(structuredClone(message));
    });
  }

  #take(message: ToPrimary): void {
    if (!('relay' in message)) {
      this.heard.push(message);
      if (message.type === 'listeners') for (const spec of message.specs) this.listens(spec);
      return;
    }
    if (message.relay !== 'to-serving') return;
    const targets = message.to === 'all' ? [...this.serving.values()] : [this.serving.get(message.to)];
    for (const target of targets) target?.receive(structuredClone(message.message));
  }
}

/** Resolves when `condition` holds; rejects after 30 s with what it waited for. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
