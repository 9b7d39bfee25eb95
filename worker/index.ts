/**
 * For Node programs that register themselves:
 *
 *     const worker = registerWorker({ url, token, registration: { service: 'web', port: 3000 } });
 *     server.listen(3000, () => worker.ready());
 *     process.on('SIGTERM', () => worker.leave().then(() => server.close()));
 *
 * No dependency but Node itself. Programs in any other language use `kontrol run` or the three calls of the API.
 */
import { type LeaseOptions, WorkerLease } from './lease.ts';
import { programName } from './program-name.ts';

export type { Command, LeaseOptions, Permission, Registration, StartMode, WorkerState } from './lease.ts';
export { WorkerLease } from './lease.ts';

export interface RegisteredWorker {
  /** The port accepts: traffic may come. */
  ready(): void;
  /** Out of balancing, nothing active any more (at most `timeoutMs`, default 30 s), registration given back. */
  leave(timeoutMs?: number): Promise<void>;
  readonly lease: WorkerLease;
}

/** Registers this process and keeps it registered; `url` and `token` default to KONTROL_URL and KONTROL_TOKEN. */
export function registerWorker(
  options: Omit<LeaseOptions, 'url' | 'token'> & Partial<Pick<LeaseOptions, 'url' | 'token'>>,
): RegisteredWorker {
  const lease = new WorkerLease({
    ...options,
    url: options.url ?? process.env['KONTROL_URL'] ?? 'http://127.0.0.1:7000',
    token: options.token ?? process.env['KONTROL_TOKEN'] ?? '',
    registration: { pid: process.pid, name: programName(process.argv), ...options.registration },
  });
  lease.start();
  return {
    lease,
    ready: () => lease.setState('ready'),
    async leave(timeoutMs = 30_000) {
      await lease.drain(timeoutMs);
      await lease.close();
    },
  };
}
