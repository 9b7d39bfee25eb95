/** The log of a process, with what was odd about its settings as its first lines. */

import type { Log } from '../shared/log.ts';
import { createLog } from '../shared/log-create.ts';
import type { SettingsOfProcess } from '../shared/settings.ts';

export function openLog(
  read: { readonly settings: SettingsOfProcess; readonly warnings: readonly string[] },
  name: string,
): Log {
  const log = createLog({ level: read.settings.logLevel, name });
  for (const warning of read.warnings) log.warn('setting_doubtful', warning);
  return log;
}
