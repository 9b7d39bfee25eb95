/** `kontrol proxy`: one node alone. This process is its primary and imports no driver. */
import { startNode } from '../proxy/primary/main.ts';
import { KontrolError } from '../shared/errors.ts';
import { helpText, readSettings } from '../shared/settings.ts';
import { openLog } from './open-log.ts';
import { isSupervised, tellParent } from './supervised.ts';
import { formatListener } from './welcome.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const read = readSettings(argv, process.env, 'proxy');
  if (read.help) {
    process.stdout.write(helpText('proxy'));
    return 0;
  }
  const log = openLog(read, 'proxy');
  try {
    const node = await startNode(read.settings, log);
    void node.ready.then(() => {
      tellParent({ type: 'ready', detail: { listening: node.listening().map(formatListener) } });
    });
    // Without `kontrol up` the serving processes go on, and the next primary takes over from them.
    const abandoned = () => process.exit(1);
    if (isSupervised()) process.on('disconnect', abandoned);
    const code = await node.ended;
    process.off('disconnect', abandoned);
    return code;
  } catch (error) {
    // Said once: by `kontrol up` where there is one.
    if (error instanceof KontrolError && tellParent({ type: 'failed', message: error.message })) return 1;
    throw error;
  }
}
