/** A Redis server for tests: `REDIS_URL` when set, else a `redis-server` of our own on a free port, without a disk. */
import { type Daemon, freePort, givenService, installPackages, onPath, startDaemon } from './process.ts';

export interface RedisService {
  readonly url: string;
  /** Process id of the server, 0 when it is not ours; for signals such as SIGSTOP. */
  readonly pid: number;
  stop(): Promise<void>;
  /** Ends the server at once and starts an empty one on the same port; starts it when it is stopped. */
  restart(): Promise<void>;
}

/** `own`: never the server of `REDIS_URL`; for tests that end, restart or freeze it. */
export async function startRedis({ own = false } = {}): Promise<RedisService> {
  const given = process.env['REDIS_URL'];
  if (given && !own) return givenService(given, 'REDIS_URL');
  await installRedis();
  const port = await freePort();
  let daemon: Daemon | null = null;
  let pid = 0;
  const start = async (): Promise<void> => {
    const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    daemon = await startDaemon('redis-server', options, 'Ready to accept connections');
    pid = daemon.pid;
  };
  const stop = async (): Promise<void> => {
    await daemon?.end('SIGKILL');
    daemon = null;
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return pid;
    },
    stop,
    async restart() {
      await stop();
      await start();
    },
  };
}

/** Makes sure that `redis-server` is there. */
export async function installRedis(): Promise<void> {
  if (!onPath('redis-server')) await installPackages(['redis-server']);
}
