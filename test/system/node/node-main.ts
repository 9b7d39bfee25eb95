/** A node as `kontrol proxy` would run it, with a scripted sync process; says on stdout what a test waits for. */
import { fileURLToPath } from 'node:url';
import { type NodeOptions, startNode } from '../../../proxy/primary/main.ts';
import type { Log } from '../../../shared/log.ts';
import type { SettingsOfProcess } from '../../../shared/settings.ts';

function say(event: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

const log: Log = {
  debug() {},
  info: (code, message, fields) => say({ event: 'log', code, message, ...fields }),
  warn: (code, message, fields) => say({ event: 'log', code, message, ...fields }),
  error: (code, message, fields) => say({ event: 'log', code, message, ...fields }),
  child: () => log,
};

const { settings, options } = JSON.parse(process.env.NODE_UNDER_TEST ?? '{}') as {
  settings: SettingsOfProcess;
  options: NodeOptions;
};
process.stdout.on('error', () => {});
try {
  const node = await startNode(settings, log, {
    syncEntry: fileURLToPath(new URL('./scripted-sync.js', import.meta.url)),
    ...options,
  });
  say({ event: 'started', listening: node.listening() });
  void node.ready.then(() => say({ event: 'ready' }));
  process.exitCode = await node.ended;
  say({ event: 'ended' });
} catch (error) {
  say({ event: 'failed', message: (error as Error).message });
  process.exitCode = 1;
}
