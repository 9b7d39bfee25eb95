/** A process that writes log lines, for the tests of the destination: what it does is its argument. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createLog } from './log-create.ts';
import { standardSink } from './log-destination.ts';

const [, , what = '', count = '0'] = process.argv;
const sink = standardSink(1);

/** Lines of very different lengths, each recognisable as whole. */
function line(i: number): string {
  const length = 10 + ((i * 7_919) % 3_900);
  return `${JSON.stringify({ pid: process.pid, i, length, text: 'x'.repeat(length) })}\n`;
}

function writeAll(): void {
  for (let i = 0; i < Number(count); i++) sink.write(line(i));
}

/** Gives the reader a chance between the lines. */
async function writeSlowly(): Promise<void> {
  for (let i = 0; i < Number(count); i++) {
    sink.write(line(i));
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

function report(message: object): Promise<void> {
  return new Promise((resolve) => process.send?.(message, () => resolve()));
}

if (what === 'pair') {
  // Two processes on one pipe: the other one inherits ours.
  const other = fork(fileURLToPath(import.meta.url), ['one', count], { stdio: 'inherit' });
  const answer = once(other, 'message') as Promise<[{ dropped: number }]>;
  await writeSlowly();
  await sink.drain(10_000);
  const [{ dropped }] = await answer;
  await report({ dropped: sink.dropped + dropped });
  process.disconnect();
} else if (what === 'one') {
  await writeSlowly();
  await sink.drain(10_000);
  await report({ dropped: sink.dropped });
  process.disconnect();
} else if (what === 'flood') {
  // Ends by itself: neither a full pipe nor one without a reader may hold it.
  writeAll();
  await report({ dropped: sink.dropped });
  process.disconnect();
} else if (what === 'gone') {
  await once(process, 'message');
  writeAll();
  await sink.drain();
  writeAll();
  await report({ dropped: sink.dropped });
  process.disconnect();
} else if (what === 'resume') {
  writeAll();
  await report({ dropped: sink.dropped });
  await once(process, 'message');
  await sink.drain(10_000);
  const { dropped } = sink;
  sink.write(`${JSON.stringify({ last: true })}\n`);
  await report({ dropped });
  process.disconnect();
} else if (what === 'exit') {
  writeAll();
  process.exit(0);
} else if (what === 'crash') {
  createLog({ level: 'info', name: 'test' }).info('last_words', 'said just before the end');
  throw new Error('on purpose');
}
