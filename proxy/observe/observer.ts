/** What a serving process sees of its traffic, in one place: access log, counters and the last requests. */
import type { Log } from '../../shared/log.ts';
import { LineSink, standardSink } from '../../shared/log-destination.ts';
import { accessLogTarget } from '../../shared/settings-values.ts';
import { type AccessLog, createAccessLog } from './access-log.ts';
import { Counters, type StatsSnapshot } from './counters.ts';
import { DomainCounts, type DomainGrowth } from './domain-counts.ts';
import { RecentRequests } from './recent.ts';
import type { Observer, RequestRecord } from './record.ts';

export interface ObserverOptions {
  /** The setting of that name. A file that cannot be opened throws: the process cannot start like that. */
  readonly accessLog: string;
  readonly log: Log;
  /** Whether the table has a service of this name; bounds the names that are counted. */
  readonly knowsService?: (name: string) => boolean;
  /** How many requests are kept for Explain. Default 1024. */
  readonly recent?: number;
}

export interface ProcessObserver extends Observer {
  readonly recent: RecentRequests;
  /** The message `stats` for sync; `full` when sync is new. */
  snapshot(full?: boolean): StatsSnapshot & { readonly domainGrowth: DomainGrowth };
  /** Opens the file of the access log again, after it was renamed. */
  reopen(): void;
  /** Writes what waits; resolves when it is written, or after half a second. */
  flush(): Promise<void>;
  /** Writes what waits and closes the file of the access log. */
  close(): Promise<void>;
}

export function createObserver(options: ObserverOptions): ProcessObserver {
  return new JoinedObserver(options);
}

class JoinedObserver implements ProcessObserver {
  readonly recent: RecentRequests;
  readonly #counters: Counters;
  readonly #domains = new DomainCounts();
  readonly #sink: LineSink | null;
  readonly #isStandard: boolean;
  readonly #accessLog: AccessLog | null;
  readonly #log: Log;

  constructor(options: ObserverOptions) {
    const target = accessLogTarget(options.accessLog);
    this.#log = options.log;
    this.recent = new RecentRequests(options.recent);
    this.#counters = new Counters(options.knowsService);
    this.#sink = target.format === 'off' ? null : this.#open(target.file);
    this.#isStandard = target.format !== 'off' && target.file === null;
    this.#accessLog =
      target.format === 'off' || this.#sink === null ? null : createAccessLog(target.format, this.#sink);
  }

  record(record: RequestRecord): void {
    try {
      this.#counters.count(record);
      this.#domains.count(record);
      if (this.#accessLog !== null) this.#accessLog.write(record);
      this.recent.add(record);
    } catch (error) {
      this.#counters.failures++;
      this.#log.error('record_failed', 'a request could not be recorded', { error });
    }
  }

  connectionOpened(): void {
    this.#counters.connectionsActive++;
    this.#counters.connectionsTotal++;
  }

  connectionClosed(): void {
    this.#counters.connectionsActive--;
  }

  snapshot(full = false): StatsSnapshot & { readonly domainGrowth: DomainGrowth } {
    return {
      ...this.#counters.snapshot(full, this.#sink?.dropped ?? 0),
      domainGrowth: this.#domains.take(),
    };
  }

  reopen(): void {
    this.#sink?.reopen();
  }

  async flush(): Promise<void> {
    await this.#sink?.drain();
  }

  async close(): Promise<void> {
    // The one of stdout belongs to the process.
    if (this.#isStandard) await this.flush();
    else await this.#sink?.close();
  }

  #open(file: string | null): LineSink {
    if (file === null) return standardSink(1);
    return LineSink.toFile(file, {
      onTrouble: (reason) => {
        if (reason === null) this.#log.info('access_log_written', `${file} is written again`);
        else this.#log.error('access_log_failed', `the access log loses lines: ${reason}`, { file });
      },
    });
  }
}
