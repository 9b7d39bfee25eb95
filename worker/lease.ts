/**
 * One registration of a worker process at kontrolapi, kept alive: registers, beats, and registers again when it was
 * forgotten. It never throws for an API that is away: the worker runs on and is registered as soon as one answers.
 * No dependency but Node itself.
 */

/** `many`: any number runs. `one`: one at a time, the others wait. `version`: only workers of one version at a time. */
export type StartMode = 'many' | 'one' | 'version';
export type WorkerState = 'starting' | 'ready';
export type Permission = 'run' | 'wait';
export type Command = 'drain' | 'stop';

export interface Registration {
  readonly service: string;
  /** Build number; default 1. */
  readonly key?: number;
  readonly port: number;
  /** Address under which the proxies reach it; default the one this call comes from. */
  readonly host?: string;
  readonly name?: string;
  readonly pid?: number;
  readonly version?: string;
  /** Default `many`. */
  readonly mode?: StartMode;
  /** 0 to 1000, default 1. */
  readonly weight?: number;
  readonly meta?: Readonly<Record<string, string>>;
}

/** A callback that throws is told of by `onNote` and changes nothing: the lease goes on. */
export interface LeaseOptions {
  /** Base address of kontrolapi, e.g. `http://127.0.0.1:7000`. */
  readonly url: string;
  readonly token: string;
  readonly registration: Registration;
  /** Called with each new permission, also when an earlier one is taken back. */
  readonly onPermission?: (permission: Permission) => void;
  /** Called once for each new command from the API. */
  readonly onCommand?: (command: Command) => void;
  /** One line for people: registered, refused, lost, API away or back. What it throws itself is dropped. */
  readonly onNote?: (line: string) => void;
  /** What a beat reports: bytes and seconds; default those of this process. */
  readonly vitals?: () => { readonly memory?: number; readonly uptime?: number };
}

const CALL_TIMEOUT_MS = 5_000;
const FIRST_RETRY_MS = 250;
const SLOWEST_RETRY_MS = 5_000;
/**
 * One call that waits for a drain lasts this long at most, then it is asked again: whatever stands between us and the
 * API cuts calls that are silent for longer, and one that died is noticed.
 */
const DRAIN_ASK_MS = 10_000;
/** How long an API that does not answer is asked for a drain: long enough for one that is just restarted. */
const DRAIN_PATIENCE_MS = 5_000;
/** Beats are spread by this share of their interval, so that many workers do not beat together. */
const JITTER = 0.1;

interface Reply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export class WorkerLease {
  readonly #options: LeaseOptions;
  #state: WorkerState = 'starting';
  #id: string | null = null;
  #heartbeatMs = 5_000;
  #permission: Permission | null = null;
  #command: Command | null = null;
  #reachable: boolean | null = null;
  #refusal: string | null = null;
  #retryMs = FIRST_RETRY_MS;
  #timer: NodeJS.Timeout | null = null;
  #running = false;
  #inFlight: Promise<void> | null = null;
  #again = false;
  /** Ends calls of `drain` that nobody waits for any more. */
  readonly #closing = new AbortController();

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Identifier at the API; null while it is not registered. */
  get id(): string | null {
    return this.#id;
  }

  /** Last permission the API gave; null before the first. */
  get permission(): Permission | null {
    return this.#permission;
  }

  /** Whether the last call reached the API; null before the first call ended. */
  get reachable(): boolean | null {
    return this.#reachable;
  }

  /** Begins to register and beat; calling it twice does nothing. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#beatNow();
  }

  /** Reports a state at once, and with every later beat. */
  setState(state: WorkerState): void {
    if (this.#state === state) return;
    this.#state = state;
    if (this.#running) this.#beatNow();
  }

  /**
   * Asks to be taken out of balancing and waits until every node says nothing is active on it, or `timeoutMs` is
   * over or `close` is called. True when all nodes confirmed.
   */
  async drain(timeoutMs: number): Promise<boolean> {
    const id = this.#id;
    if (id === null) return true;
    const deadline = performance.now() + timeoutMs;
    let awaySince: number | null = null;
    for (;;) {
      const ask = Math.round(Math.max(0, Math.min(DRAIN_ASK_MS, deadline - performance.now())));
      const path = `/v1/workers/${encodeURIComponent(id)}/drain?wait=all&timeout=${ask}ms`;
      const reply = await this.#call('POST', path, undefined, ask + CALL_TIMEOUT_MS, this.#closing.signal);
      if (reply !== null && reply.status !== 202) return reply.status === 200 || reply.status === 404;
      if (this.#closing.signal.aborted) return false;
      const now = performance.now();
      awaySince = reply === null ? (awaySince ?? now) : null;
      if (now >= deadline || (awaySince !== null && now - awaySince > DRAIN_PATIENCE_MS)) return false;
      await new Promise((resolve) => setTimeout(resolve, FIRST_RETRY_MS));
    }
  }

  /** Stops beating and gives the registration back. Safe to call twice. */
  async close(): Promise<void> {
    this.#running = false;
    this.#closing.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.#inFlight;
    const id = this.#id;
    this.#id = null;
    this.#permission = null;
    if (id !== null) await this.#call('DELETE', `/v1/workers/${encodeURIComponent(id)}`);
  }

  #beatNow(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#inFlight !== null) {
      this.#again = true;
      return;
    }
    this.#inFlight = this.#turn().finally(() => {
      this.#inFlight = null;
      if (!this.#running) return;
      if (this.#again) {
        this.#again = false;
        this.#beatNow();
      } else {
        this.#timer = setTimeout(() => this.#beatNow(), this.#pause());
      }
    });
  }

  #pause(): number {
    const base = this.#id !== null && this.#reachable === true ? this.#heartbeatMs : this.#retryMs;
    return base * (1 - JITTER + 2 * JITTER * Math.random());
  }

  async #turn(): Promise<void> {
    if (this.#id === null) await this.#register();
    else await this.#beat(this.#id);
    this.#retryMs =
      this.#reachable === true && this.#id !== null
        ? FIRST_RETRY_MS
        : Math.min(SLOWEST_RETRY_MS, this.#retryMs * 2);
  }

  async #register(): Promise<void> {
    const reply = await this.#call('POST', '/v1/workers', {
      ...this.#options.registration,
      state: this.#state,
    });
    if (reply === null) return;
    const { id, heartbeatMs } = reply.body;
    if (reply.status >= 300 || typeof id !== 'string') {
      this.#refused(reply);
      return;
    }
    this.#id = id;
    this.#refusal = null;
    if (typeof heartbeatMs === 'number' && heartbeatMs >= 50) this.#heartbeatMs = heartbeatMs;
    this.#note(`registered as ${id}`);
    this.#take(reply);
    // What changed while the call was under way goes out with the next beat at once.
    if (this.#state === 'ready') this.#again = true;
  }

  async #beat(id: string): Promise<void> {
    let vitals: ReturnType<NonNullable<LeaseOptions['vitals']>> = {
      memory: process.memoryUsage.rss(),
      uptime: process.uptime(),
    };
    this.#tell(() => {
      vitals = this.#options.vitals?.() ?? vitals;
    });
    const reply = await this.#call('PUT', `/v1/workers/${encodeURIComponent(id)}/heartbeat`, {
      state: this.#state,
      ...vitals,
    });
    if (reply === null) return;
    if (reply.status === 404) {
      this.#id = null;
      this.#again = true;
      this.#note(
        'the registration was forgotten, or another worker registered the same address; registering again',
      );
    } else if (reply.status >= 300) {
      this.#refused(reply);
    } else {
      this.#refusal = null;
      this.#take(reply);
    }
  }

  #take(reply: Reply): void {
    const { permission, command } = reply.body;
    if ((permission === 'run' || permission === 'wait') && permission !== this.#permission) {
      this.#permission = permission;
      this.#tell(() => this.#options.onPermission?.(permission));
    }
    const known = command === 'drain' || command === 'stop' ? command : null;
    if (known !== this.#command) {
      this.#command = known;
      if (known !== null) this.#tell(() => this.#options.onCommand?.(known));
    }
  }

  #tell(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#note(`a callback of the worker failed: ${(error as Error)?.message ?? String(error)}`);
    }
  }

  #note(line: string): void {
    try {
      this.#options.onNote?.(line);
    } catch {
      // Nobody is left to tell.
    }
  }

  #refused(reply: Reply): void {
    const reason = `${reply.status} ${explained(reply.body)}`.trim();
    if (this.#refusal !== reason)
      this.#note(`kontrolapi refuses: ${reason}; it is asked again every few seconds`);
    this.#refusal = reason;
  }

  /** The reply, or null when the API did not answer (or not with JSON). */
  async #call(
    method: string,
    path: string,
    body?: unknown,
    timeoutMs = CALL_TIMEOUT_MS,
    abort?: AbortSignal,
  ): Promise<Reply | null> {
    const { url, token } = this.#options;
    try {
      const response = await fetch(new URL(path, url), {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(abort === undefined ? [] : [abort])]),
      });
      const text = await response.text();
      const parsed: unknown = text === '' ? {} : JSON.parse(text);
      // A 5xx is as good as no answer: the store is away, or something between us and the API is.
      if (response.status >= 500) throw new Error(`it answers ${response.status}`);
      if (this.#reachable === false) this.#note('kontrolapi answers again');
      this.#reachable = true;
      return {
        status: response.status,
        body: typeof parsed === 'object' && parsed !== null ? (parsed as Reply['body']) : {},
      };
    } catch (error) {
      if (abort?.aborted === true) return null;
      if (this.#reachable !== false)
        this.#note(
          `kontrolapi does not answer (${reasonOf(error)}); the worker runs on and is registered when it does`,
        );
      this.#reachable = false;
      return null;
    }
  }
}

/** What the API says of a refusal: its sentence, and what is wrong with which field. */
function explained({ detail, title, errors }: Reply['body']): string {
  const fields = Array.isArray(errors) ? (errors as { path?: unknown; message?: unknown }[]) : [];
  return [detail ?? title ?? '', ...fields.map((field) => `${field?.path}: ${field?.message}`)].join('; ');
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
}
