/**
 * The sync process: forked by the primary, which sends a start message first. It ends when the channel to the primary
 * closes, and for no other reason: signals are for the primary, and failures are logged.
 */
import { processGivesWay } from '../../shared/background.ts';
import { openBus } from '../../shared/bus/open.ts';
import { systemClock } from '../../shared/clock.ts';
import { createLog } from '../../shared/log-create.ts';
import { packageVersion } from '../../shared/package-root.ts';
import { openStore } from '../../shared/store/open.ts';
import type { StartMessage } from '../link/messages.ts';
import { RedisLedger } from '../rate/redis-ledger.ts';
import type { FromPrimary, Link } from './link.ts';
import { SyncProcess } from './sync.ts';

/** The last copy to disk and the last words to the store get this long. */
const CLOSE_MS = 3_000;

process.title = 'kontrol sync';
processGivesWay();
// SIGUSR1 would open a debugger port in a process that does not handle it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const)
  process.on(signal, () => {});

const link: Link = {
  send(message, sent) {
    if (!process.connected || process.send === undefined) {
      setImmediate(sent);
      return;
    }
    // The callback also tells that the channel is closed; the 'disconnect' event deals with that.
    process.send(message, undefined, {}, () => sent());
  },
};

let sync: SyncProcess | null = null;

process.on('message', (message: FromPrimary) => {
  if (typeof message !== 'object' || message === null) return;
  if ('type' in message && message.type === 'start') begin(message);
  else sync?.receive(message);
});
process.once('disconnect', () => {
  setTimeout(() => process.exit(0), CLOSE_MS).unref();
  const closed = sync === null ? Promise.resolve() : sync.close();
  closed.catch(() => {}).finally(() => process.exit(0));
});

function begin({ settings }: StartMessage): void {
  if (sync !== null) return;
  const log = createLog({ level: settings.logLevel, name: 'sync', fields: { node: settings.node } });
  process.on('unhandledRejection', (error) => {
    log.error('unhandled_rejection', 'a failure nobody waited for; sync goes on', { error });
  });
  process.on('uncaughtException', (error) => {
    log.error('uncaught_exception', 'a failure outside every call; sync goes on', { error });
  });
  sync = new SyncProcess({
    settings,
    version: packageVersion(),
    link,
    clock: systemClock,
    log,
    openStore: () => openStore(settings, log),
    openBus: async () => openBus(settings, log),
    ...(settings.redisUrl === null ? {} : { sharedCounts: new RedisLedger(settings.redisUrl) }),
  });
  sync.start().catch((error: unknown) => {
    log.error('sync_start_failed', 'sync could not start all of its parts; it goes on without', { error });
  });
}
