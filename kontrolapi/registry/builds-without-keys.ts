/**
 * A service that was deleted and made again while its workers ran has no keys: they beat on, and nobody would make
 * them. One with any key is left alone: a key that was removed by name stays removed.
 */
import type { Member } from '../../shared/model/live.ts';
import type { Service } from '../../shared/model/service.ts';

/** The service with the keys of its workers; null where nothing is to be done. */
export function withKeysOf(service: Service | undefined, members: readonly Member[]): Service | null {
  if (service === undefined || Object.keys(service.keys ?? {}).length > 0) return null;
  const keys = members.filter(({ state }) => state !== 'lost').map(({ key }) => String(key));
  return keys.length === 0 ? null : { ...service, keys: Object.fromEntries(keys.map((key) => [key, {}])) };
}
