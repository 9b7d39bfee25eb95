/** Opens the bus that the settings ask for: Redis when there is a URL, else the socket of this machine. */
import type { Log } from '../log.ts';
import type { Bus } from './contract.ts';
import { LocalBus } from './local.ts';
import { RedisBus } from './redis.ts';

export function openBus(
  settings: { readonly redisUrl: string | null; readonly data: string },
  log: Log,
): Bus {
  return settings.redisUrl === null ? new LocalBus(settings.data, log) : new RedisBus(settings.redisUrl, log);
}
