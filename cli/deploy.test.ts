/** `kontrol deploy` against an API that is not always there; what it does in a cluster is tested with real processes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { run } from './deploy.ts';
import { type Said, said } from './said-for-test.ts';

/** An API with two builds of which the first is the latest; `answer` says what it answers otherwise. */
async function withApi(
  answer: (method: string, url: string) => readonly [number, unknown] | null,
  use: (deploy: (...args: string[]) => Promise<Said>) => Promise<void>,
  service = 'shop',
): Promise<unknown[]> {
  const patched: unknown[] = [];
  const server = createServer((request, response) => {
    const { method = '', url = '' } = request;
    const say = ([status, body]: readonly [number, unknown]) =>
      response.writeHead(status, { 'Kontrol-Seq': '7' }).end(JSON.stringify(body));
    const own = answer(method, url);
    if (method === 'PATCH') {
      request.on('data', (chunk) => patched.push(JSON.parse(String(chunk))));
      request.on('end', () => say(own ?? [200, {}]));
    } else if (own !== null) {
      say(own);
    } else {
      const items = [1, 2].map((key) => ({ key, enabled: true, latest: key === 1, backends: { ready: 1 } }));
      say([200, { latest: 1, items }]);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await use((...args) => said(() => run([service, ...args, '--url', url, '--token', 't'])));
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return patched;
}

test('a build that a node does not serve in time is not watched but taken back', async () => {
  let looks = 0;
  const patched = await withApi(
    (method, url) => {
      if (url.startsWith('/v1/stats')) looks++;
      if (method === 'PATCH') return [202, { nodes: [], pending: ['slow'], problems: [] }];
      if (url !== '/v1/nodes') return null;
      const nodes = [
        { name: 'slow', live: true, seq: 6 },
        { name: 'quick', live: true, seq: 7 },
        { name: 'dead', live: false, seq: 1 },
      ];
      return [200, { items: nodes }];
    },
    async (deploy) => {
      const { code, err, out } = await deploy('--key', '2', '--timeout', '100ms', '--watch', '1s');
      assert.deepEqual([code, out], [1, '']);
      assert.match(err, /key 2 is not served yet by slow; key 2 stays/);
    },
  );
  assert.deepEqual(patched, [{ latest: 2 }]);
  assert.equal(looks, 0);
});

test('a build is served when the last node has it, later than the API waits', async () => {
  let asked = 0;
  await withApi(
    (method, url) => {
      if (method === 'PATCH') return [202, { nodes: [], pending: ['slow'], problems: [] }];
      if (url !== '/v1/nodes') return null;
      // At first the API is away.
      if (asked++ === 0) return [503, {}];
      return [200, { items: [{ name: 'slow', live: true, seq: 7 }] }];
    },
    async (deploy) => {
      const { code, out } = await deploy('--key', '2', '--watch', '0');
      assert.equal(code, 0);
      assert.match(out, /latest is key 2, was 1/);
    },
  );
  assert.equal(asked, 2);
});

test('a build that a node cannot load is taken back at once, and the way back is told as JSON too', async () => {
  const problem = { node: 'one', kind: 'service', name: 'shop', reason: 'it cannot be compiled' };
  let bad = true;
  const patched = await withApi(
    (method) => (method === 'PATCH' && bad ? [202, { nodes: [], pending: [], problems: [problem] }] : null),
    async (deploy) => {
      const { code, err, out } = await deploy('--key', '2', '--rollback', '--json');
      assert.equal(code, 1);
      assert.match(err, /one does not serve service shop: it cannot be compiled; latest is key 1 again/);
      const told = { pending: [], problems: [problem], rolledBack: true };
      assert.deepEqual(JSON.parse(out), { service: 'shop', key: 2, was: 1, ...told });
    },
  );
  assert.deepEqual(patched, [{ latest: 2 }, { latest: 1 }]);
  bad = false;
  const builds = [1, 2].map((key) => ({ key, enabled: true, latest: key === 2, backends: { ready: 1 } }));
  await withApi(
    (method, url) => (method === 'GET' && url.endsWith('/keys') ? [200, { latest: 2, items: builds }] : null),
    async (deploy) => {
      const { code, out } = await deploy('--rollback', '--json');
      assert.equal(code, 0);
      const told = { pending: [], problems: [], rolledBack: true };
      assert.deepEqual(JSON.parse(out), { service: 'shop', key: 1, was: 2, ...told });
    },
  );
});

test('the service that is watched is asked for by its name', async () => {
  const asked = new Set<string>();
  await withApi(
    (_, url) => {
      if (!url.startsWith('/v1/stats')) return null;
      asked.add(url);
      return [200, { services: [{ name: 'shop', requests: asked.size, errors: 0 }] }];
    },
    async (deploy) => {
      assert.equal((await deploy('--key', '2', '--watch', '100ms')).code, 0);
    },
  );
  assert.deepEqual([...asked], ['/v1/stats?service=shop']);
});

test('an API that fails for a moment neither ends the watching nor keeps from pointing back', async () => {
  let looks = 0;
  const patched = await withApi(
    (_, url) => {
      if (!url.startsWith('/v1/stats')) return null;
      looks++;
      const requests = looks * 100;
      if (looks % 2 === 0) return [503, { detail: 'not now' }];
      return [200, { services: [{ name: 'shop', requests, errors: requests }] }];
    },
    async (deploy) => {
      // Three looks, of which the second fails.
      const { code } = await deploy('--key', '2', '--watch', '1500ms', '--rollback', '--json');
      assert.equal(code, 1);
    },
  );
  assert.deepEqual(patched, [{ latest: 2 }, { latest: 1 }]);
});

const buildsAt = (latest: number, live: Readonly<Record<number, number>>, disabled?: number) => ({
  latest,
  items: Object.entries(live).map(([key, ready]) => ({
    key: Number(key),
    enabled: Number(key) !== disabled,
    latest: Number(key) === latest,
    backends: { ready },
  })),
});

/** Every answer of the service is an error. */
function failing() {
  let requests = 0;
  return (url: string): readonly [number, unknown] | null => {
    if (!url.startsWith('/v1/stats')) return null;
    requests += 100;
    return [200, { services: [{ name: 'shop', requests, errors: requests }] }];
  };
}

test('a build that became the latest by its first worker is taken back to the build below it', async () => {
  const figures = failing();
  const patched = await withApi(
    (_, url) => (url.endsWith('/keys') ? [200, buildsAt(3, { 1: 1, 2: 1, 3: 1 })] : figures(url)),
    async (deploy) => {
      const { code, err } = await deploy('--key', '3', '--watch', '100ms', '--rollback');
      assert.equal(code, 1);
      assert.match(err, /latest is key 2 again/);
    },
  );
  assert.deepEqual(patched, [{ latest: 3 }, { latest: 2 }]);
});

test('the history says of each step that it was a deploy, and of which build', async () => {
  const figures = failing();
  const messages: (string | null)[] = [];
  await withApi(
    (method, url) => {
      if (method === 'PATCH') messages.push(new URL(url, 'http://x').searchParams.get('message'));
      return url.endsWith('/keys') ? [200, buildsAt(3, { 1: 1, 2: 1, 3: 1 })] : figures(url);
    },
    async (deploy) => {
      await deploy('--key', '3', '--watch', '100ms', '--rollback');
      await deploy('--rollback');
    },
  );
  assert.deepEqual(messages, ['deploy of key 3', 'deploy of key 3 taken back', 'back to the build before']);
});

test('it is not pointed back to a build that has no live backends left', async () => {
  const figures = failing();
  let written = false;
  const patched = await withApi(
    (method, url) => {
      if (method === 'PATCH') written = true;
      if (url.endsWith('/keys')) return [200, buildsAt(1, { 1: written ? 0 : 1, 2: 1 })];
      return figures(url);
    },
    async (deploy) => {
      const { code, err } = await deploy('--key', '2', '--watch', '100ms', '--rollback');
      assert.equal(code, 1);
      assert.match(err, /key 2 stays: no build before it has live backends/);
    },
  );
  assert.deepEqual(patched, [{ latest: 2 }]);
});

test('an API that is away when it is to be pointed back is asked again', async () => {
  const figures = failing();
  let writes = 0;
  let looks = 0;
  const patched = await withApi(
    (method, url) => {
      // Away for the first look after the watching, and for the first write back.
      if (method === 'PATCH' && ++writes === 2) return [503, { detail: 'not now' }];
      if (url.endsWith('/keys') && ++looks === 3) return [503, { detail: 'not now' }];
      return figures(url);
    },
    async (deploy) => {
      const { code, err } = await deploy('--key', '2', '--watch', '100ms', '--rollback');
      assert.equal(code, 1);
      assert.match(err, /latest is key 1 again/);
    },
  );
  assert.deepEqual(patched, [{ latest: 2 }, { latest: 1 }, { latest: 1 }]);
});

test('a build that is disabled is not deployed, and a name is taken in any case', async () => {
  const patched = await withApi(
    (_, url) => {
      if (url.endsWith('/keys')) return [200, buildsAt(1, { 1: 1, 2: 1 }, 2)];
      return null;
    },
    async (deploy) => {
      const { code, err, out } = await deploy('--key', '2', '--json');
      assert.equal(code, 1);
      assert.match(err, /key 2 of shop is disabled.*; nothing was changed\..*keys\.2\.enabled=true/);
      assert.deepEqual(JSON.parse(out), { service: 'shop', key: 2, was: 1, live: 1, rolledBack: false });
    },
  );
  assert.deepEqual(patched, []);
  const figures = failing();
  await withApi(
    (_, url) => figures(url),
    async (deploy) => {
      const { code, err } = await deploy('--key', '2', '--watch', '1s');
      assert.equal(code, 1);
      assert.match(err, /100\.0 %/);
    },
    'Shop',
  );
});

test('every end of a deploy is told as JSON too', async () => {
  await withApi(
    (_, url) => (url.endsWith('/keys') ? [200, buildsAt(1, { 1: 1, 2: 0 })] : null),
    async (deploy) => {
      const few = await deploy('--key', '2', '--timeout', '0', '--json');
      assert.deepEqual(
        [few.code, JSON.parse(few.out)],
        [1, { service: 'shop', key: 2, was: 1, live: 0, rolledBack: false }],
      );
      assert.match(few.err, /has 0 live backends of 1 in time.*nothing was changed/);
      const none = await deploy('--rollback', '--json');
      const told = { pending: [], problems: [], rolledBack: false };
      assert.deepEqual(
        [none.code, JSON.parse(none.out)],
        [1, { service: 'shop', key: null, was: 1, ...told }],
      );
    },
  );
});
