/** `kontrol api`: the control service alone. It stays up without its store and says so in `/readyz`. */
import { startApi } from '../kontrolapi/main.ts';
import { KontrolError } from '../shared/errors.ts';
import { createLog } from '../shared/log-create.ts';
import { helpText, readSettings } from '../shared/settings.ts';
import { takeOrders, tellParent } from './supervised.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const { settings, warnings, help } = readSettings(argv, process.env, 'api');
  if (help) {
    process.stdout.write(helpText('api'));
    return 0;
  }
  process.title = 'kontrol api';
  const log = createLog({ level: settings.logLevel, name: 'api' });
  for (const warning of warnings) log.warn('setting_unknown', warning);
  try {
    const api = await startApi(settings, log);
    tellParent({ type: 'ready', detail: { url: api.url, firstAdmin: api.firstAdmin } });
    await new Promise<void>((resolve) => {
      takeOrders({ stop: resolve, restart() {}, reopenLogs() {}, abandoned: resolve });
    });
    await api.close();
    return 0;
  } catch (error) {
    if (error instanceof KontrolError) tellParent({ type: 'failed', message: error.message });
    throw error;
  }
}
