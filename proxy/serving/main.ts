/**
 * Entry of a serving process. Takes orders from the primary; without it goes on serving until a new primary or
 * SIGTERM asks it to leave. No failure of ours ends it.
 */
import { setFlagsFromString } from 'node:v8';
import { helpersGiveWay } from '../../shared/background.ts';
import type { PrimaryToServing, StartMessage, ToServing } from '../link/messages.ts';
import { ServingProcess } from './start.ts';

process.title = 'kontrol serving';
// What dies young is collected by this thread alone: the helpers it would wait for may have to wait for a processor.
setFlagsFromString('--no-parallel-scavenge');
helpersGiveWay();

let serving: ServingProcess | null = null;

type Received = StartMessage | PrimaryToServing | ToServing;

process.on('message', (message: Received, handle: unknown) => {
  try {
    if (message.type === 'start') serving ??= new ServingProcess(message);
    else serving?.receive(message, handle);
  } catch (error) {
    report(error);
  }
});
process.on('disconnect', () => {
  if (serving === null) process.exit(0);
  else serving.orphaned();
});
process.on('SIGTERM', () => {
  if (!process.connected) serving?.leave();
});
process.on('SIGUSR2', () => serving?.reopenLogs());
// The terminal sends these to the whole group; the outermost process decides. SIGUSR1 would open Node's debugger.
for (const signal of ['SIGINT', 'SIGHUP', 'SIGUSR1'] as const) process.on(signal, () => {});
process.on('uncaughtException', report);
process.on('unhandledRejection', report);

function report(error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (serving !== null)
    serving.log.error('internal', 'A failure of ours; the process goes on', { error: text });
  else process.stderr.write(`kontrol serving: ${text}\n`, () => {});
}
