/** `kontrol api`: the control service alone. It stays up without its store and says so in `/readyz`. */
import { startApi } from '../kontrolapi/main.ts';
import { processGivesWay } from '../shared/background.ts';
import { KontrolError } from '../shared/errors.ts';
import { helpText, readSettings } from '../shared/settings.ts';
import { openLog } from './open-log.ts';
import { takeOrders, tellParent } from './supervised.ts';

/** Hosts that only this machine reaches. */
const LOCAL = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

export async function run(argv: readonly string[]): Promise<number> {
  const read = readSettings(argv, process.env, 'api');
  if (read.help) {
    process.stdout.write(helpText('api'));
    return 0;
  }
  process.title = 'kontrol api';
  processGivesWay();
  const { settings } = read;
  const log = openLog(read, 'api');
  process.on('uncaughtException', (error) => {
    log.error('uncaught_exception', 'a failure outside every call; the API goes on', { error });
  });
  // The embedded store listens for rejections itself.
  if (settings.mongoUrl !== null)
    process.on('unhandledRejection', (error) => {
      log.error('unhandled_rejection', 'a failure nobody waited for; the API goes on', { error });
    });
  try {
    const api = await startApi(settings, log);
    if (settings.apiCert === null && !LOCAL.test(settings.api.host))
      log.warn(
        'api_in_clear',
        'tokens and private keys cross the network unencrypted; give --api-cert and --api-key',
      );
    tellParent({ type: 'ready', detail: { url: api.url, firstAdmin: api.firstAdmin } });
    await new Promise<void>((resolve) => {
      takeOrders({ stop: resolve, restart() {}, reopenLogs() {}, abandoned: resolve });
    });
    await api.close();
    return 0;
  } catch (error) {
    // Said once: by `kontrol up` where there is one.
    if (error instanceof KontrolError && tellParent({ type: 'failed', message: error.message })) return 1;
    throw error;
  }
}
