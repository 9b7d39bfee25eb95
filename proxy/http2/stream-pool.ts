/** Streams between two uses, of all connections of a process: a request makes no new exchange, head or view. */
import type { Environment } from '../serving/environment.ts';
import { Http2Stream, type StreamHost } from './stream.ts';

const MAX_FREE = 128;

export class StreamPool {
  readonly #environment: Environment;
  readonly #free: Http2Stream[] = [];

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  take(host: StreamHost): Http2Stream {
    return this.#free.pop() ?? new Http2Stream(this.#environment, host);
  }

  /** Its owner has forgotten it. */
  give(stream: Http2Stream): void {
    if (this.#free.length < MAX_FREE) this.#free.push(stream);
    else stream.close();
  }
}

const pools = new WeakMap<Environment, StreamPool>();

/** The one pool of a process. */
export function poolOf(environment: Environment): StreamPool {
  let pool = pools.get(environment);
  if (pool === undefined) {
    pool = new StreamPool(environment);
    pools.set(environment, pool);
  }
  return pool;
}
