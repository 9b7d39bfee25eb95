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

function report(message: object): Promise<void> {
  return new Promise((resolve) => process.send?.(message, () => resolve()));
}

if (what === 'pair') {
  // Two processes on one pipe (the other one inherits ours), both with much to write when the reader begins.
  const other = fork(fileURLToPath(import.meta.url), ['one', count], { stdio: 'inherit' });
  await once(other, 'message');
  writeAll();
  await report({ dropped: sink.dropped });
  other.send({});
  const answer = once(other, 'message') as Promise<[{ dropped: number }]>;
  await sink.drain(10_000);
  const [{ dropped }] = await answer;
  await report({ dropped: sink.dropped + dropped });
  process.disconnect();
} else if (what === 'one') {
  writeAll();
  await report({});
  await once(process, 'message');
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
