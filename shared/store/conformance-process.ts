/**
 * A process that shares the store of a conformance test: `conformance-process.js ADDRESS COMMAND [ARGUMENT]`. It
 * reports to the test by messages, and ends with it.
 */
import { silentLog } from '../log.ts';
import { change, type PlaceAddress, revisionAfter } from './conformance-place.ts';
import { openEmbedded } from './embedded.ts';
import { openMongodb } from './mongodb.ts';
import type { RecordStoreOptions } from './record-store.ts';

/** What a process says: this revision was acknowledged. */
export interface Acknowledged {
  readonly seq: number;
  readonly id: string;
}

/** A revision of these changes is stored in parts, and projected in several goes. */
export const LARGE_CHANGES = Array.from({ length: 4 }, (_, n) =>
  change('page', `large-${n}`, { name: `large-${n}`, text: 'x'.repeat(600_000) }),
);

function openAddress(address: PlaceAddress, options: RecordStoreOptions) {
  if (address.type === 'mongodb') return Promise.resolve(openMongodb(address.url, options));
  return openEmbedded(address.folder, silentLog, options);
}

/** Appends and projects as many revisions as asked for, whoever else does too. */
async function commitMany(address: PlaceAddress, count: number): Promise<void> {
  const store = await openAddress(address, { batch: 1 });
  for (let done = 0; done < count; ) {
    const name = `r${done % 5}`;
    const doc = done % 4 === 3 ? null : { process: process.pid, done };
    const revision = revisionAfter(
      await store.head(),
      change('rule', name, doc),
      change('rule', 'all', { done }),
    );
    if ((await store.append(revision)) === 'taken') continue;
    const acknowledged: Acknowledged = { seq: revision.seq, id: revision.id };
    process.send?.(acknowledged);
    await store.project(revision);
    done++;
  }
  await store.close();
}

/** Adds one to a counter as often as asked for. */
async function count(address: PlaceAddress, times: number): Promise<void> {
  const store = await openAddress(address, {});
  const { live } = store;
  for (let done = 0; done < times; ) {
    const read = await live.get('counters', 'n');
    const next = { count: Number(read?.['count'] ?? 0) + 1 };
    const held =
      read === null ? live.insert('counters', 'n', next) : live.replace('counters', 'n', read.v, next);
    if (!(await held)) continue;
    process.send?.(next.count);
    done++;
  }
  await store.close();
}

/** Appends and projects one large revision, and is killed at a step on the way. */
async function crash(address: PlaceAddress, step: string): Promise<void> {
  const onStep = (at: string): void => {
    if (at === step) process.kill(process.pid, 'SIGKILL');
  };
  const store = await openAddress(address, { batch: 1, onStep });
  const revision = revisionAfter(await store.head(), ...LARGE_CHANGES);
  await store.append(revision);
  await store.project(revision);
}

if (process.send !== undefined && process.argv[3] !== undefined) {
  process.on('disconnect', () => process.exit());
  const [, , text = '', command, argument = ''] = process.argv;
  const address = JSON.parse(text) as PlaceAddress;
  if (command === 'commit') await commitMany(address, Number(argument));
  if (command === 'count') await count(address, Number(argument));
  if (command === 'crash') await crash(address, argument);
  process.disconnect();
}
