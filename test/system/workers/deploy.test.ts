/** `kontrol deploy`: to a build that is live, back when it answers with errors, and to the one before. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Cluster, visit } from '../../cluster.ts';
import { Backend } from '../visitors/backends.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));
const HOST = 'shop.test';

let cluster: Cluster;
const backends: Backend[] = [];
/** Statuses of the third build. */
const status = 500;

before(async () => {
  cluster = await Cluster.start(1);
  for (const name of ['one', 'two', 'three']) {
    backends.push(
      await Backend.start(name, {
        handler: (_, response) => {
          response.statusCode = name === 'three' ? status : 200;
          response.end(name);
        },
      }),
    );
  }
  const [one, two] = backends.map(({ address }) => ({ backends: [{ address }] }));
  await cluster.apply(
    { kind: 'service', name: 'shop', latest: 1, keys: { 1: one, 2: two, 3: {} } },
    { kind: 'domain', name: HOST, service: 'shop' },
  );
});
after(async () => {
  await cluster?.close();
  await Promise.all(backends.map((backend) => backend.close()));
});

function deploy(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, KONTROL_URL: cluster.apiUrl, KONTROL_TOKEN: cluster.token };
    execFile(
      process.execPath,
      [MAIN, 'deploy', 'shop', ...args],
      { env, timeout: 60_000 },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    );
  });
}

const serves = async () => (await visit(cluster.nodes[0]?.http ?? 0, HOST)).body;

test('a build that is live becomes the latest; the builds are listed with their backends', async () => {
  assert.equal(await serves(), 'one');
  assert.deepEqual(await deploy('--key', '2', '--watch', '0'), {
    code: 0,
    out: 'shop: latest is key 2, was 1\nshop: 0 requests, 0 errors (0.0 %), live backends: 1\n',
    err: '',
  });
  assert.equal(await serves(), 'two');
  const { body } = await cluster.ok('GET', '/v1/services/shop/keys');
  assert.deepEqual(
    [
      body.latest,
      body.items.map(
        ({
          key,
          latest,
          backends: { ready },
        }: {
          key: number;
          latest: boolean;
          backends: { ready: number };
        }) => [key, latest, ready],
      ),
    ],
    [
      2,
      [
        [1, false, 1],
        [2, true, 1],
        [3, false, 0],
      ],
    ],
  );
});

test('a build without live backends is waited for, and nothing is changed when none come', async () => {
  const { code, err } = await deploy('--key', '3', '--timeout', '1s');
  assert.equal(code, 1);
  assert.match(err, /key 3 of shop has 0 live backends of 1 in time; nothing was changed/);
  assert.equal(await serves(), 'two');
});

test('a build that answers with errors is taken back by itself', async () => {
  await cluster.ok('POST', '/v1/services/shop/keys/3/backends?wait=all', { address: backends[2]?.address });
  let asking = true;
  const visitors = (async () => {
    while (asking) {
      await serves();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    const { code, err } = await deploy('--key', '3', '--watch', '6s', '--rollback');
    assert.match(err, /\d+ requests, \d+ errors \(\d+\.\d %\), live backends: 1; latest is key 2 again/);
    assert.equal(code, 1);
  } finally {
    asking = false;
    await visitors;
  }
  assert.equal(await serves(), 'two');
});

test('--rollback alone points to the build before that has live backends; wrong use is told', async () => {
  const back = await deploy('--rollback');
  assert.deepEqual(back, { code: 0, out: 'shop: latest is key 1, was 2\n', err: '' });
  assert.equal(await serves(), 'one');
  assert.equal((await deploy('--rollback')).code, 1);
  assert.equal((await deploy()).code, 2);
  assert.equal((await deploy('--key', 'new')).code, 2);
});
