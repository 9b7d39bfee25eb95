/**
 * A MongoDB-compatible server for tests: `MONGO_URL` when set, else a `mongod` on PATH, else mongo-java-server with a
 * file behind it. Every call gets a database of its own; what was acknowledged survives `kill` and `restart`.
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { MongoClient } from 'mongodb';
import { packageRoot } from '../../shared/package-root.ts';
import { type Daemon, freePort, givenService, installPackages, onPath, startDaemon } from './process.ts';

const run = promisify(execFile);

export interface MongoService {
  /** With the name of a database that only this caller uses. */
  readonly url: string;
  /** Process id of the server, 0 when it is not ours; for signals such as SIGSTOP. */
  readonly pid: number;
  /** Ends the server and removes its data (the database only, when the server is not ours). */
  stop(): Promise<void>;
  /** Ends the server at once, as `kill -9` does. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data, ending it first when it runs. */
  restart(): Promise<void>;
}

/** `own`: never the server of `MONGO_URL`; for tests that end, restart or freeze it. */
export async function startMongo({ own = false } = {}): Promise<MongoService> {
  const database = `kontrol_${randomBytes(6).toString('hex')}`;
  const given = process.env['MONGO_URL'];
  if (given && !own) {
    const url = new URL(given);
    url.pathname = `/${database}`;
    return { ...givenService(url.href, 'MONGO_URL'), stop: () => dropDatabase(url.href) };
  }
  const launch = await prepare();
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-mongo-'));
  const port = await freePort();
  let daemon: Daemon | null = await launch(folder, port);
  const kill = async (): Promise<void> => {
    await daemon?.end('SIGKILL');
    daemon = null;
  };
  return {
    url: `mongodb://127.0.0.1:${port}/${database}`,
    get pid() {
      return daemon?.pid ?? 0;
    },
    kill,
    async stop() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
    async restart() {
      await kill();
      daemon = await launch(folder, port);
    },
  };
}

/** Makes sure that a server can be started: finds or fetches what it needs. */
export async function installMongo(): Promise<void> {
  await prepare();
}

type Launch = (folder: string, port: number) => Promise<Daemon>;

async function prepare(): Promise<Launch> {
  if (onPath('mongod')) {
    return (folder, port) => {
      const options = [
        '--dbpath',
        folder,
        '--port',
        String(port),
        '--bind_ip',
        '127.0.0.1',
        '--nounixsocket',
      ];
      return startDaemon('mongod', options, 'Waiting for connections');
    };
  }
  const classes = await javaServer();
  const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx512m', '-cp', classes];
  return (folder, port) =>
    startDaemon('java', [...jvm, 'Main', join(folder, 'data.h2'), String(port)], 'ready');
}

/** The class path of the Java server, fetched and compiled once per user. */
async function javaServer(): Promise<string> {
  const source = packageRoot('test', 'services', 'mongo', 'Main.java');
  const pom = packageRoot('test', 'services', 'mongo', 'pom.xml');
  const digest = createHash('sha256')
    .update(readFileSync(source))
    .update(readFileSync(pom))
    .digest('hex')
    .slice(0, 12);
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'kontrol-test');
  const folder = join(cache, `mongo-${digest}`);
  const missing = [
    ...(onPath('java') && onPath('javac') ? [] : ['openjdk-17-jdk-headless']),
    ...(existsSync(folder) || onPath('mvn') ? [] : ['maven']),
  ];
  if (missing.length > 0) await installPackages(missing);
  if (existsSync(folder)) return classPath(folder);

  await mkdir(cache, { recursive: true });
  const building = await mkdtemp(join(cache, 'building-'));
  try {
    await cp(pom, join(building, 'pom.xml'));
    const goal = ['-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${building}`];
    await run('mvn', goal, { cwd: building, maxBuffer: 1 << 26 });
    await run('javac', ['-d', building, '-cp', classPath(building), source], { cwd: building });
    // Whoever builds at the same time builds the same; the first one stays.
    await rename(building, folder).catch((error: NodeJS.ErrnoException) => {
      if (!existsSync(folder)) throw error;
    });
  } catch (error) {
    const { stdout, stderr, message } = error as Error & { stdout?: string; stderr?: string };
    const reason = `${stderr ?? ''}${stdout ?? ''}`.trim().split('\n')[0] || message;
    throw new Error(
      `the tests need a MongoDB: set MONGO_URL, or let Maven fetch mongo-java-server (${reason})`,
    );
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return classPath(folder);
}

function classPath(folder: string): string {
  const jars = readdirSync(folder).filter((name) => name.endsWith('.jar'));
  return [folder, ...jars.map((name) => join(folder, name))].join(delimiter);
}

async function dropDatabase(url: string): Promise<void> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 3_000 });
  try {
    await client.db().dropDatabase();
  } finally {
    await client.close();
  }
}
