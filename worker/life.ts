/** One registration and one run of the program under it, from the permission to the last request. */
import { type LeaseOptions, WorkerLease } from './lease.ts';
import { accepts } from './probe.ts';
import { type Command, type Ending, Program } from './program.ts';

export interface LifeOptions extends Pick<LeaseOptions, 'url' | 'token' | 'registration'> {
  readonly command: Command;
  /** The port has to accept within this time after the start. */
  readonly startTimeoutMs: number;
  /** Longest wait for requests under way when it is taken out. */
  readonly drainTimeoutMs: number;
  /** Between TERM and KILL. */
  readonly stopTimeoutMs: number;
  readonly note: (line: string) => void;
}

export type Outcome =
  | { readonly type: 'stopped' }
  /** The program cannot be started: not found, not executable. */
  | { readonly type: 'unstartable'; readonly reason: string }
  /** It ended, or was ended, and is to start again. */
  | { readonly type: 'ended'; readonly reason: string; readonly readyMs: number };

const PROBE_MS = 100;
/** What lets the wrapper register is not the program's. */
const KEPT_BACK = ['KONTROL_TOKEN', 'KONTROL_API_TOKEN', 'KONTROL_SECRET'];

export class Life {
  readonly #options: LifeOptions;
  readonly #lease: WorkerLease;
  #wake: () => void = () => {};
  #program: Program | null = null;
  #readyAt: number | null = null;
  #stop = false;
  #hurry = false;
  #given: Promise<void> = Promise.resolve();

  constructor(options: LifeOptions) {
    this.#options = options;
    const { url, token, registration, note } = options;
    this.#lease = new WorkerLease({
      url,
      token,
      registration,
      onNote: note,
      vitals: () => this.#program?.vitals() ?? {},
      onPermission: (permission) => {
        if (permission === 'wait') note('another worker runs; waiting for permission');
        this.#wake();
      },
      onCommand: (command) => {
        // The drain that it has asked for itself comes back as a command.
        if (this.#stop) return;
        note(`told to ${command}`);
        if (command === 'stop') this.stop();
      },
    });
  }

  /** The orderly end: drain, deregister, end the program. */
  stop(): void {
    this.#stop = true;
    this.#wake();
  }

  /** Ends the program at once, without a drain. */
  hurry(): void {
    this.#stop = true;
    this.#hurry = true;
    this.#program?.kill();
    this.#wake();
  }

  /** The registration was given back, as far as the API answers. */
  get closed(): Promise<void> {
    return this.#given;
  }

  async run(): Promise<Outcome> {
    const { registration, command, stopTimeoutMs } = this.#options;
    if (await accepts(registration.port))
      return this.#ended(`port ${registration.port} is taken by another process`);
    this.#lease.start();
    if (!(await this.#permitted())) {
      this.#leave();
      return { type: 'stopped' };
    }
    const { service, key, port } = registration;
    const inherited = Object.entries(process.env).filter(([name]) => !KEPT_BACK.includes(name));
    const program = new Program(command, {
      ...Object.fromEntries(inherited),
      PORT: String(port),
      KONTROL_SERVICE: service,
      KONTROL_KEY: String(key ?? 1),
    });
    this.#program = program;
    void program.ended.then(() => this.#wake());
    const why = await this.#watch(program);
    if (program.ending === null) await this.#drain();
    this.#leave();
    if (program.ending === null) await this.#given;
    await program.end(this.#hurry ? 0 : stopTimeoutMs);
    if (this.#stop) return { type: 'stopped' };
    const { failure } = await program.ended;
    return failure === null ? this.#ended(why) : { type: 'unstartable', reason: why };
  }

  /** True when the program may start, false when it is to stop before that. */
  async #permitted(): Promise<boolean> {
    const { mode } = this.#options.registration;
    const exclusive = mode !== undefined && mode !== 'many';
    for (;;) {
      if (this.#stop) return false;
      if (this.#lease.permission === 'run') return true;
      if (!exclusive && this.#lease.reachable === false) return true;
      await this.#changed(PROBE_MS);
    }
  }

  /** Until there is a reason to end this life, which it answers. */
  async #watch(program: Program): Promise<string> {
    const { registration, note, startTimeoutMs } = this.#options;
    const startedAt = performance.now();
    for (;;) {
      if (program.ending !== null) return reasonOf(program.ending, this.#options.command);
      if (this.#stop) return 'it was stopped';
      if (this.#lease.permission === 'wait') return 'the permission to run was taken back';
      if (this.#readyAt !== null) {
        await this.#changed(null);
      } else if (await accepts(registration.port, registration.host)) {
        if (program.ending !== null) continue;
        this.#readyAt = performance.now();
        this.#lease.setState('ready');
        note(`ready on port ${registration.port}`);
      } else if (performance.now() - startedAt > startTimeoutMs) {
        const elsewhere =
          registration.host === undefined
            ? '; if it listens on no loopback address, name its own with --host'
            : '';
        note(`port ${registration.port} did not accept within ${startTimeoutMs} ms${elsewhere}`);
        return 'the program was not ready in time';
      } else {
        await this.#changed(PROBE_MS);
      }
    }
  }

  /** Out of balancing first, then the end: no request meets a closed port. */
  async #drain(): Promise<void> {
    const { note, drainTimeoutMs } = this.#options;
    if (this.#readyAt === null || this.#hurry) return;
    let drained: boolean | null = null;
    void this.#lease.drain(drainTimeoutMs).then((confirmed) => {
      drained = confirmed;
      this.#wake();
    });
    while (drained === null && !this.#hurry && this.#program?.ending === null) await this.#changed(null);
    if (drained === false) note('not every node confirmed the drain in time');
  }

  #leave(): void {
    this.#given = this.#lease.close();
  }

  #ended(reason: string): Outcome {
    const readyMs = this.#readyAt === null ? 0 : performance.now() - this.#readyAt;
    return { type: 'ended', reason, readyMs };
  }

  /** Resolves when something happened, or after `ms`. */
  #changed(ms: number | null): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === null ? null : setTimeout(resolve, ms);
      this.#wake = () => {
        if (timer !== null) clearTimeout(timer);
        resolve();
      };
    });
  }
}

function reasonOf({ code, signal, failure }: Ending, [program]: Command): string {
  if (failure !== null) return `${program} cannot be started (${failure})`;
  return `the program ended (${signal ?? `exit code ${code}`})`;
}
