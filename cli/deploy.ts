/**
 * `kontrol deploy SERVICE --key N`: waits until the build has live backends, points `latest` at it, says which nodes
 * do not serve it at once, and watches the errors of the service for a while. With `--rollback` it points back by
 * itself when that goes wrong; `--rollback` without a key points back to the build before. The old build keeps its
 * workers.
 */
import { parseDuration } from '../shared/units.ts';
import { clientCommand, runClient } from './client-command.ts';
import { type Connection, call } from './connection.ts';
import { printJson, progress } from './output.ts';
import { WrongUse } from './wrong-use.ts';

interface Build {
  readonly key: number;
  readonly enabled: boolean;
  readonly latest: boolean;
  readonly backends: Readonly<Record<string, number>>;
}

interface Builds {
  readonly latest: number | null;
  readonly items: readonly Build[];
}

interface Watched {
  requests: number;
  errors: number;
}

interface Plan {
  readonly service: string;
  readonly key: number;
  readonly min: number;
  readonly timeoutMs: number;
  readonly watchMs: number;
  readonly maxErrors: number;
  readonly rollback: boolean;
  readonly json: boolean;
}

const POLL_MS = 1_000;
/** Of requests in the time of watching; fewer than this many say nothing. */
const ENOUGH_REQUESTS = 10;

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('deploy', 'Point a service at a build when it is live, and watch it.')
    .argument('<service>')
    .option('--key <n>', 'the build; left out with --rollback: the one before')
    .option('--min <n>', 'backends of it that have to be live', '1')
    .option('--timeout <time>', 'how long to wait for them', '5m')
    .option('--watch <time>', 'how long to watch its errors afterwards; 0 for not at all', '30s')
    .option('--max-errors <percent>', 'share of 5xx answers that is too much', '5')
    .option('--rollback', 'point back when there are too many errors or too few backends');
  return runClient(command, argv, async (connection, options, [service = '']) => {
    const rollback = options['rollback'] === true;
    const before = await buildsOf(connection, service);
    if (options['key'] === undefined) {
      if (!rollback) throw new WrongUse('which build? give --key N, or --rollback for the one before');
      return goBack(connection, service, before);
    }
    return deploy(connection, before, {
      service,
      key: positive('--key', options['key']),
      min: positive('--min', options['min']),
      timeoutMs: timeOf('--timeout', options['timeout']),
      watchMs: timeOf('--watch', options['watch']),
      maxErrors: percent(options['maxErrors']),
      rollback,
      json: options.json === true,
    });
  });
}

async function deploy(connection: Connection, before: Builds, plan: Plan): Promise<number> {
  const { service, key, min, rollback, json } = plan;
  if (!(await untilLive(connection, plan))) {
    const live = liveOf(await buildsOf(connection, service), key);
    process.stderr.write(
      `kontrol: key ${key} of ${service} has ${live} live backends of ${min} in time; nothing was changed. Its workers start with 'kontrol run --service ${service} --key ${key} …'\n`,
    );
    return 1;
  }
  await point(connection, service, key);
  say(json, `${service}: latest is key ${key}${before.latest === null ? '' : `, was ${before.latest}`}`);
  const watched = await watch(connection, plan);
  const share = watched.requests === 0 ? 0 : (watched.errors / watched.requests) * 100;
  const live = liveOf(await buildsOf(connection, service), key);
  const bad = (watched.requests >= ENOUGH_REQUESTS && share > plan.maxErrors) || live < min;
  const told = `${watched.requests} requests, ${watched.errors} errors (${share.toFixed(1)} %), live backends: ${live}`;
  if (!bad) {
    if (json) printJson({ service, key, was: before.latest, ...watched, live, rolledBack: false });
    else say(json, `${service}: ${told}`);
    return 0;
  }
  const back = rollback && before.latest !== null && before.latest !== key;
  if (back) await point(connection, service, before.latest as number);
  if (json) printJson({ service, key, was: before.latest, ...watched, live, rolledBack: back });
  const then = back
    ? `; latest is key ${before.latest} again`
    : `; key ${key} stays: kontrol deploy ${service} --key ${before.latest ?? 'N'} points elsewhere`;
  process.stderr.write(`kontrol: ${service}: ${told}${then}\n`);
  return 1;
}

/** To the greatest build below the present one that has live backends. */
async function goBack(connection: Connection, service: string, builds: Builds): Promise<number> {
  const { latest } = builds;
  const candidates = builds.items.filter(
    ({ key, enabled, backends }) =>
      enabled && (latest === null || key < latest) && (backends['ready'] ?? 0) > 0,
  );
  const target = candidates.at(-1);
  if (target === undefined) {
    process.stderr.write(
      `kontrol: no build of ${service} before ${latest ?? 'the present one'} has live backends\n`,
    );
    return 1;
  }
  await point(connection, service, target.key);
  process.stdout.write(`${service}: latest is key ${target.key}, was ${latest}\n`);
  return 0;
}

async function untilLive(connection: Connection, { service, key, min, timeoutMs }: Plan): Promise<boolean> {
  const done = progress(`waiting for ${min} live backends of key ${key}`);
  try {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const builds = await unlessAway(buildsOf(connection, service));
      if (builds !== null && liveOf(builds, key) >= min) return true;
      if (performance.now() >= deadline) return false;
      await pause(POLL_MS);
    }
  } finally {
    done();
  }
}

/** Adds up what the figures of the service grew by; they are those of the last minutes, and also shrink. */
async function watch(connection: Connection, { service, watchMs }: Plan): Promise<Watched> {
  const grown: Watched = { requests: 0, errors: 0 };
  if (watchMs === 0) return grown;
  const done = progress(`watching ${service}`);
  try {
    let before = await unlessAway(figuresOf(connection, service));
    for (const deadline = performance.now() + watchMs; performance.now() < deadline; ) {
      await pause(Math.min(POLL_MS, watchMs));
      const now = await unlessAway(figuresOf(connection, service));
      if (now === null) continue;
      grown.requests += Math.max(0, now.requests - (before ?? now).requests);
      grown.errors += Math.max(0, now.errors - (before ?? now).errors);
      before = now;
    }
  } finally {
    done();
  }
  return grown;
}

/** Null when the API is away or fails: the next look may find it again, and what was begun is brought to its end. */
async function unlessAway<T>(look: Promise<T>): Promise<T | null> {
  try {
    return await look;
  } catch (error) {
    const { status } = error as { readonly status?: unknown };
    if (typeof status === 'number' && (status >= 500 || status === 429)) return null;
    throw error;
  }
}

async function buildsOf(connection: Connection, service: string): Promise<Builds> {
  const path = `/v1/services/${encodeURIComponent(service)}/keys`;
  return (await call<Builds>(connection, 'GET', path)).body;
}

function liveOf({ items }: Builds, key: number): number {
  return items.find((build) => build.key === key)?.backends['ready'] ?? 0;
}

async function point(connection: Connection, service: string, key: number): Promise<void> {
  const path = `/v1/services/${encodeURIComponent(service)}?wait=all&timeout=10s`;
  const { status, body } = await call<{ pending?: readonly string[] }>(connection, 'PATCH', path, {
    latest: key,
  });
  if (status === 202)
    process.stderr.write(`kontrol: not served yet by ${(body.pending ?? []).join(', ') || 'any node'}\n`);
}

async function figuresOf(connection: Connection, service: string): Promise<Watched> {
  const { body } = await call<{ services: readonly ({ readonly name: string } & Watched)[] }>(
    connection,
    'GET',
    '/v1/stats?limit=200',
  );
  const found = body.services.find(({ name }) => name === service);
  return { requests: found?.requests ?? 0, errors: found?.errors ?? 0 };
}

function say(json: boolean, line: string): void {
  if (!json) process.stdout.write(`${line}\n`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function positive(option: string, text: unknown): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new WrongUse(`${option} is a whole number from 1`);
  return number;
}

function timeOf(option: string, text: unknown): number {
  const ms = parseDuration(String(text));
  if (ms === null) throw new WrongUse(`${option} is a time, like 30s or 5m`);
  return ms;
}

function percent(text: unknown): number {
  const number = Number(text);
  if (!(number >= 0 && number <= 100)) throw new WrongUse('--max-errors is a percentage, 0 to 100');
  return number;
}
