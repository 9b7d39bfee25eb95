/**
 * The same counts as `ledger.ts`, kept in Redis and shared by all nodes: one hash per key with a field per part of
 * the window, by the clock of Redis, gone by itself two periods after its last count. Each wish is one atomic script.
 * While Redis is away or slow the answer is null, and whoever asks counts alone.
 */
import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { type Grant, SLOTS, type Wish } from './ledger.ts';

/** How long an answer is waited for, and how long Redis is left alone after one that did not come. */
const ANSWER_MS = 150;
const REST_MS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
const SLOWEST_RETRY_MS = 1_000;
const PREFIX = 'kontrol:rate:';

const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local slotMs, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local waiting, extra, debt, share = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local slot = math.floor(now / slotMs)
local fields = redis.call('HGETALL', KEYS[1])
local sum, oldest = 0, slot
for i = 1, #fields, 2 do
  local at, count = tonumber(fields[i]), tonumber(fields[i + 1])
  if at < slot - ${SLOTS} then redis.call('HDEL', KEYS[1], fields[i])
  elseif count > 0 then
    sum = sum + count
    if at < oldest then oldest = at end
  end
end
local left = math.max(0, limit - sum - debt)
local granted = math.min(waiting, left)
granted = granted + math.min(extra, math.floor((left - granted) / share))
local added = granted + debt
if added > 0 then
  redis.call('HINCRBY', KEYS[1], string.format('%.0f', slot), added)
  redis.call('PEXPIRE', KEYS[1], math.ceil(slotMs * ${SLOTS} * 2) + 1000)
end
local reset = 0
if sum + added > 0 then reset = math.ceil((oldest + ${SLOTS} + 1) * slotMs - now) end
return {granted, left - granted, reset, slot}
`;
const GIVE_BACK = `
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[1], ARGV[1], -tonumber(ARGV[2])) end
return 0
`;

export interface Asked {
  readonly key: string;
  readonly limit: number;
  readonly periodMs: number;
  readonly wish: Wish;
  readonly share: number;
}

export interface Returned {
  readonly key: string;
  readonly slot: number;
  readonly count: number;
}

/** Counts that all nodes share; faked in tests. */
export interface SharedCounts {
  /** The grants in the order of what was asked; null when they are not to be had now. */
  take(asked: readonly Asked[]): Promise<readonly Grant[] | null>;
  giveBack(returned: readonly Returned[]): void;
  readonly up: boolean;
  close(): void;
}

export class RedisLedger implements SharedCounts {
  readonly #redis: Redis;
  readonly #monotonic: () => number;
  #restUntil = Number.NEGATIVE_INFINITY;

  /** Connects in the background; throws only when `url` is no URL of Redis at all. */
  constructor(url: string, monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
    this.#redis = new Redis(url, {
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableReadyCheck: false,
      disableClientInfo: true,
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: ANSWER_MS,
      retryStrategy: (times) => Math.min(SLOWEST_RETRY_MS, 50 * 2 ** Math.min(times, 10)),
    });
    // The bus says that Redis is away; here it only means to count alone.
    this.#redis.on('error', () => {});
    this.#redis.defineCommand('kontrolRateTake', { numberOfKeys: 1, lua: TAKE });
    this.#redis.defineCommand('kontrolRateGiveBack', { numberOfKeys: 1, lua: GIVE_BACK });
  }

  get up(): boolean {
    return this.#redis.status === 'ready' && this.#monotonic() >= this.#restUntil;
  }

  async take(asked: readonly Asked[]): Promise<readonly Grant[] | null> {
    if (!this.up) return null;
    try {
      return await Promise.all(asked.map((one) => this.#takeOne(one)));
    } catch {
      this.#restUntil = this.#monotonic() + REST_MS;
      return null;
    }
  }

  giveBack(returned: readonly Returned[]): void {
    if (!this.up) return;
    for (const { key, slot, count } of returned) {
      this.#command('kontrolRateGiveBack', [nameOf(key), slot, count]).catch(() => {});
    }
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #takeOne({ key, limit, periodMs, wish, share }: Asked): Promise<Grant> {
    const { waiting, extra, debt } = wish;
    const slotMs = periodMs / SLOTS;
    const answer = await this.#command('kontrolRateTake', [
      nameOf(key),
      slotMs,
      limit,
      waiting,
      extra,
      debt,
      share,
    ]);
    const [granted, left, resetMs, slot] = (answer as unknown[]).map(Number);
    if (granted === undefined || left === undefined || resetMs === undefined || slot === undefined)
      throw new Error('Redis answered something else');
    return { granted, left, resetMs, slot };
  }

  /** Commands that were defined by name are not in the types of the client. */
  #command(name: string, args: readonly (string | number)[]): Promise<unknown> {
    const commands = this.#redis as unknown as Record<
      string,
      (...args: (string | number)[]) => Promise<unknown>
    >;
    const command = commands[name] as (...args: (string | number)[]) => Promise<unknown>;
    return command.apply(this.#redis, [...args]);
  }
}

/** Keys hold addresses of visitors: Redis gets to see none of them. */
function nameOf(key: string): string {
  return PREFIX + createHash('sha256').update(key).digest('base64url').slice(0, 27);
}
