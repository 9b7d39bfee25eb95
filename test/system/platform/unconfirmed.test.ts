import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start(0);
});
after(() => cluster?.close());

interface Listed {
  readonly seq: number;
  readonly undoes?: number;
  readonly confirm?: { readonly state: string };
}

test('changes are undone once each, although the process that made them was killed and others raced for them', async () => {
  const others = await Promise.all(
    [1, 2].map(async () =>
      cluster.run([
        'api',
        '--api',
        `127.0.0.1:${await freePort()}`,
        '--data',
        cluster.data,
        '--log-level',
        'info',
      ]),
    ),
  );
  for (const other of others)
    await cluster.until('another kontrolapi runs', () => /api_started|the API listens/.test(other.output));
  const seqs: number[] = [];
  for (let n = 0; n < 12; n++) {
    const path = `/v1/services/race${n}?confirmWithin=${n % 2 === 0 ? '1s' : '1500ms'}`;
    seqs.push(Number((await cluster.ok('PUT', path, {})).body.seq));
  }
  await cluster.api?.end('SIGKILL', 1_000);
  await cluster.startApi();
  await cluster.until('all are undone', async () => {
    const { items } = (await cluster.ok('GET', '/v1/revisions?limit=200')).body as { items: Listed[] };
    return seqs.every((seq) => items.find((item) => item.seq === seq)?.confirm?.state === 'undone');
  });
  const { items } = (await cluster.ok('GET', '/v1/revisions?limit=200')).body as { items: Listed[] };
  for (const seq of seqs)
    assert.equal(items.filter(({ undoes }) => undoes === seq).length, 1, `revision ${seq}`);
  assert.deepEqual((await cluster.ok('GET', '/v1/services')).body.items, []);
});
