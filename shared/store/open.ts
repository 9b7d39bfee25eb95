/** Opens the store that the settings of a process name. */
import { join } from 'node:path';
import type { Log } from '../log.ts';
import type { SettingsOfProcess } from '../settings.ts';
import type { Store } from './contract.ts';

/**
 * With `mongoUrl` a MongoDB: it may be away, now or later, and calls fail meanwhile. Else the embedded store in
 * `<data>/store`. Throws KontrolError `cannot_start` for a folder or a URL that cannot be used.
 */
export async function openStore(
  settings: Pick<SettingsOfProcess, 'mongoUrl' | 'data'>,
  log: Log,
): Promise<Store> {
  // Only the driver that is used is loaded; each costs memory and time to start.
  if (settings.mongoUrl !== null) {
    const { openMongodb } = await import('./mongodb.ts');
    return openMongodb(settings.mongoUrl);
  }
  const { openEmbedded } = await import('./embedded.ts');
  return openEmbedded(join(settings.data, 'store'), log);
}
