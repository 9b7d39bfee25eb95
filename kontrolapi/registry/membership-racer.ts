/** For tests: a process of its own that registers workers of mode `one` at the store it is given, all at once. */
import type { Bus } from '../../shared/bus/contract.ts';
import { systemClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { openEmbedded } from '../../shared/store/embedded.ts';
import { join } from './edits.ts';
import { Membership } from './membership.ts';

const store = await openEmbedded(process.argv[2] ?? '', silentLog);
const membership = new Membership(store, { publish() {} } as unknown as Bus, systemClock);

process.once('message', async ({ prefix, count }: { prefix: string; count: number }) => {
  const joins = Array.from({ length: count }, (_, index) => {
    const worker = `${prefix}-${index}`;
    const more = {
      key: 1,
      weight: 1,
      state: 'starting',
      since: 1,
      name: '',
      mode: 'one',
      version: '',
    } as const;
    // Not all in one write: every few are a race of their own.
    return new Promise((resolve) => setImmediate(resolve)).then(() =>
      membership.change('shop', (draft) => join(draft, { worker, address: `${worker}:80`, ...more })),
    );
  });
  const permissions = await Promise.all(joins);
  await store.close();
  process.send?.(permissions, () => process.disconnect());
});
process.send?.('ready');
