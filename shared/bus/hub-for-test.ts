/** A process that takes part in the local bus of the folder it is given, for tests that kill it. */
import { silentLog } from '../log.ts';
import { LocalBus } from './local.ts';

const bus = new LocalBus(process.argv[2] as string, silentLog, { pingMs: 50, silenceMs: 400 });
bus.onConnected(() => process.send?.({ hub: bus.isHub }));
process.on('disconnect', () => process.exit(0));
