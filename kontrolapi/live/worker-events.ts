/**
 * Workers that come, change and leave, told from the members of services: a hint names the service, its document is
 * read and compared with what was known. One read per service at a time, however many hints come.
 */
import { membersSchema } from '../../shared/model/live.ts';
import type { LiveDocument } from '../../shared/store/contract.ts';
import type { ApiContext } from '../context.ts';
import type { EventHub } from './hub.ts';

/** Services whose members are watched; beyond it they are only counted by the lists. */
const MAX_SERVICES = 5_000;

interface Known {
  readonly service: string;
  readonly key: number;
  readonly address: string;
  readonly state: string;
  readonly name: string;
}

export class WorkerEvents {
  readonly #context: ApiContext;
  readonly #hub: EventHub;
  /** By service, then by worker. */
  readonly #known = new Map<string, ReadonlyMap<string, Known>>();
  readonly #reading = new Set<string>();
  readonly #again = new Set<string>();
  /** For each list under way, the services that were read by themselves since: what it says of them may be older. */
  readonly #lists = new Set<Set<string>>();
  readonly #stops: (() => void)[] = [];
  #first = true;
  #closed = false;

  constructor(context: ApiContext, hub: EventHub) {
    this.#context = context;
    this.#hub = hub;
  }

  start(): void {
    const { bus } = this.#context;
    this.#stops.push(
      bus.subscribe('updateProxy', (message) => {
        const service = message?.members;
        if (typeof service === 'string' && service !== '' && service.length <= 128) void this.#read(service);
      }),
      // Hints may have been missed.
      bus.onConnected(() => void this.#readAll()),
    );
    void this.#readAll();
  }

  close(): void {
    this.#closed = true;
    for (const stop of this.#stops) stop();
  }

  async #readAll(): Promise<void> {
    const since = new Set<string>();
    this.#lists.add(since);
    const documents = await this.#context.store.live.list('members').catch(() => null);
    this.#lists.delete(since);
    if (documents === null || this.#closed) return;
    const gone = new Set(this.#known.keys());
    for (const document of documents) {
      gone.delete(document._id);
      if (!since.has(document._id)) this.#take(document._id, document, this.#first);
    }
    for (const service of gone) if (!since.has(service)) this.#take(service, null, this.#first);
    this.#first = false;
  }

  async #read(service: string): Promise<void> {
    if (this.#reading.has(service)) {
      this.#again.add(service);
      return;
    }
    this.#reading.add(service);
    try {
      const document = await this.#context.store.live.get('members', service);
      if (this.#closed) return;
      for (const list of this.#lists) list.add(service);
      this.#take(service, document, false);
    } catch {
      // The store is away; what was missed is told when the bus or the next hint says so.
    } finally {
      this.#reading.delete(service);
      if (this.#again.delete(service) && !this.#closed) void this.#read(service);
    }
  }

  #take(service: string, document: LiveDocument | null, silent: boolean): void {
    const parsed = document === null ? null : membersSchema.safeParse(document);
    if (parsed?.success === false) return;
    const before = this.#known.get(service) ?? new Map<string, Known>();
    if (!this.#known.has(service) && this.#known.size >= MAX_SERVICES) return;
    const now = new Map<string, Known>();
    for (const { worker, key, address, state, name } of parsed?.data.backends ?? [])
      now.set(worker, { service, key, address, state, name });
    if (now.size === 0) this.#known.delete(service);
    else this.#known.set(service, now);
    if (silent) return;
    const at = this.#context.clock.now();
    for (const [worker, known] of now) {
      if (before.get(worker)?.state !== known.state) this.#hub.tell({ kind: 'worker', at, worker, ...known });
    }
    for (const [worker, known] of before) {
      if (!now.has(worker)) this.#hub.tell({ kind: 'worker', at, worker, ...known, state: 'gone' });
    }
  }
}
