/**
 * `kontrol deploy SERVICE --key N`: waits until the build has live backends, points `latest` at it, waits until every
 * live node serves that, and watches the errors of the service for a while. With `--rollback` it points back by
 * itself when any of that goes wrong; `--rollback` without a key points back to the build before. The old build keeps
 * its workers. What was begun is brought to its end also when the API is away for a moment.
 */
import { parseDuration } from '../shared/units.ts';
import { clientCommand, runClient } from './client-command.ts';
import { type Connection, call } from './connection.ts';
import { printJson, progress } from './output.ts';
import { patchEverywhere, type Served, unservedText } from './served.ts';
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
/** How long a way back is waited for; the time of the deploy is over then, perhaps. */
const BACK_MS = 10_000;
/** How long an API that is away is tried again for what has to be done. */
const INSIST_MS = 60_000;
/** Of requests in the time of watching; fewer than this many say nothing. */
const ENOUGH_REQUESTS = 10;

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('deploy', 'Point a service at a build when it is live, and watch it.')
    .argument('<service>')
    .option('--key <n>', 'the build; left out with --rollback: the one before')
    .option('--min <n>', 'backends of it that have to be live', '1')
    .option('--timeout <time>', 'how long to wait for them, and then for every node to serve the build', '5m')
    .option('--watch <time>', 'how long to watch its errors afterwards; 0 for not at all', '30s')
    .option('--max-errors <percent>', 'share of 5xx answers that is too much', '5')
    .option('--rollback', 'point back when nodes do not serve it, errors are too many or backends too few');
  return runClient(command, argv, async (connection, options, [given = '']) => {
    // As it stands in every answer of the API.
    const service = given.toLowerCase();
    const rollback = options['rollback'] === true;
    const before = await buildsOf(connection, service);
    if (options['key'] === undefined) {
      if (!rollback) throw new WrongUse('which build? give --key N, or --rollback for the one before');
      const timeoutMs = timeOf('--timeout', options['timeout']);
      return goBack(connection, service, before, timeoutMs, options.json === true);
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
  const { service, key, min, json } = plan;
  if (before.items.some((build) => build.key === key && !build.enabled))
    return unchanged(
      before,
      plan,
      liveOf(before, key),
      'is disabled: visitors would get the page "not active"',
      `'kontrol set service ${service} keys.${key}.enabled=true' enables it`,
    );
  const found = await untilLive(connection, plan);
  if (found < min)
    return unchanged(
      before,
      plan,
      found,
      `has ${found} live backends of ${min} in time`,
      `Its workers start with 'kontrol run --service ${service} --key ${key} …'`,
    );
  const unserved = await point(connection, service, key, `deploy of key ${key}`, plan.timeoutMs);
  if (unserved !== null) return notServed(connection, before, plan, unserved);
  say(json, `${service}: latest is key ${key}${before.latest === null ? '' : `, was ${before.latest}`}`);
  const watched = await watch(connection, plan);
  const share = watched.requests === 0 ? 0 : (watched.errors / watched.requests) * 100;
  const live = liveOf(await insist(() => buildsOf(connection, service)), key);
  const bad = (watched.requests >= ENOUGH_REQUESTS && share > plan.maxErrors) || live < min;
  const told = `${watched.requests} requests, ${watched.errors} errors (${share.toFixed(1)} %), live backends: ${live}`;
  if (!bad) {
    if (json) printJson({ service, key, was: before.latest, ...watched, live, rolledBack: false });
    else say(json, `${service}: ${told}`);
    return 0;
  }
  const { rolledBack, so } = await takeBack(connection, before, plan);
  if (json) printJson({ service, key, was: before.latest, ...watched, live, rolledBack });
  process.stderr.write(`kontrol: ${service}: ${told}${so}\n`);
  return 1;
}

/** Nothing was done yet, and nothing is. */
function unchanged(
  { latest }: Builds,
  { service, key, json }: Plan,
  live: number,
  why: string,
  advice: string,
): number {
  if (json) printJson({ service, key, was: latest, live, rolledBack: false });
  process.stderr.write(`kontrol: key ${key} of ${service} ${why}; nothing was changed. ${advice}\n`);
  return 1;
}

/** Visitors of some nodes are still with the old build: watching the errors would prove nothing. */
async function notServed(
  connection: Connection,
  before: Builds,
  plan: Plan,
  unserved: Served,
): Promise<number> {
  const { service, key, json } = plan;
  const { rolledBack, so } = await takeBack(connection, before, plan);
  const { pending, problems } = unserved;
  if (json) printJson({ service, key, was: before.latest, pending, problems, rolledBack });
  process.stderr.write(`kontrol: ${service}: key ${key} is ${unservedText(unserved)}${so}\n`);
  return 1;
}

/** Points back, where that was asked for and there is a build to point back to; says what became of it. */
async function takeBack(
  connection: Connection,
  { latest }: Builds,
  { service, key, rollback }: Plan,
): Promise<{ rolledBack: boolean; so: string }> {
  try {
    const back = wayBack(latest, await insist(() => buildsOf(connection, service)), key);
    if (back === null)
      return { rolledBack: false, so: `; key ${key} stays: no build before it has live backends` };
    if (!rollback)
      return {
        rolledBack: false,
        so: `; key ${key} stays: kontrol deploy ${service} --key ${back} points elsewhere`,
      };
    const unserved = await point(connection, service, back, `deploy of key ${key} taken back`, BACK_MS);
    const late = unserved === null ? '' : ` (${unservedText(unserved)})`;
    return { rolledBack: true, so: `; latest is key ${back} again${late}` };
  } catch (error) {
    if (!isAway(error)) throw error;
    return { rolledBack: false, so: `; key ${key} stays: ${(error as Error).message}` };
  }
}

/**
 * The build to point back to: the one that was the latest before. Where that is the new build itself (`auto` had moved
 * to it when its first worker was ready), the greatest below it. Null when what is left there has no live backends.
 */
function wayBack(latest: number | null, builds: Builds, key: number): number | null {
  if (latest === null || latest === key) return buildBelow(builds, key);
  return builds.items.some((build) => build.key === latest && canServe(build)) ? latest : null;
}

/** The greatest build below `key` that can serve. */
function buildBelow({ items }: Builds, key: number): number | null {
  return items.filter((build) => build.key < key && canServe(build)).at(-1)?.key ?? null;
}

function canServe({ enabled, backends }: Build): boolean {
  return enabled && (backends['ready'] ?? 0) > 0;
}

/** To the greatest build below the present one that has live backends. */
async function goBack(
  connection: Connection,
  service: string,
  builds: Builds,
  timeoutMs: number,
  json: boolean,
): Promise<number> {
  const { latest } = builds;
  const key = buildBelow(builds, latest ?? Number.POSITIVE_INFINITY);
  if (key === null) {
    if (json) printJson({ service, key, was: latest, pending: [], problems: [], rolledBack: false });
    process.stderr.write(
      `kontrol: no build of ${service} before ${latest ?? 'the present one'} has live backends; nothing was changed\n`,
    );
    return 1;
  }
  const unserved = await point(connection, service, key, 'back to the build before', timeoutMs);
  if (json) {
    const { pending, problems } = unserved ?? { pending: [], problems: [] };
    printJson({ service, key, was: latest, pending, problems, rolledBack: true });
  } else say(json, `${service}: latest is key ${key}, was ${latest}`);
  if (unserved === null) return 0;
  process.stderr.write(`kontrol: ${service}: key ${key} is ${unservedText(unserved)}; it stays the latest\n`);
  return 1;
}

/** How many backends of the build were live at last: `min` or more, or fewer when the time is over. */
async function untilLive(connection: Connection, { service, key, min, timeoutMs }: Plan): Promise<number> {
  let live = 0;
  let away = false;
  const done = progress(
    () =>
      `waiting for ${min} live backends of key ${key} of ${service}: ${away ? 'kontrolapi does not answer' : live}`,
  );
  try {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const builds = await unlessAway(buildsOf(connection, service));
      away = builds === null;
      if (builds !== null) live = liveOf(builds, key);
      if (live >= min || performance.now() >= deadline) return live;
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
  const done = progress(() => `watching ${service}: ${grown.requests} requests, ${grown.errors} errors`);
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

/** Null when the API is away or fails: the next look may find it again. */
async function unlessAway<T>(look: Promise<T>): Promise<T | null> {
  try {
    return await look;
  } catch (error) {
    if (isAway(error)) return null;
    throw error;
  }
}

/** Does what has to be done, again while the API is away; rejects with the last failure when it stays away. */
async function insist<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + INSIST_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isAway(error) || performance.now() >= deadline) throw error;
    }
    await pause(POLL_MS);
  }
}

function isAway(error: unknown): boolean {
  const { status } = error as { readonly status?: unknown };
  return typeof status === 'number' && (status >= 500 || status === 429);
}

async function buildsOf(connection: Connection, service: string): Promise<Builds> {
  const path = `/v1/services/${encodeURIComponent(service)}/keys`;
  return (await call<Builds>(connection, 'GET', path)).body;
}

function liveOf({ items }: Builds, key: number): number {
  return items.find((build) => build.key === key)?.backends['ready'] ?? 0;
}

/** Null when every live node serves it; else who does not when the time is over. It is written all the same. */
async function point(
  connection: Connection,
  service: string,
  key: number,
  message: string,
  timeoutMs: number,
): Promise<Served | null> {
  const path = `/v1/services/${encodeURIComponent(service)}`;
  const done = progress(`waiting until every node serves key ${key} of ${service}`);
  try {
    return await insist(() => patchEverywhere(connection, path, { latest: key }, message, timeoutMs));
  } finally {
    done();
  }
}

async function figuresOf(connection: Connection, service: string): Promise<Watched> {
  const { body } = await call<{ services: readonly ({ readonly name: string } & Watched)[] }>(
    connection,
    'GET',
    `/v1/stats?service=${encodeURIComponent(service)}`,
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
