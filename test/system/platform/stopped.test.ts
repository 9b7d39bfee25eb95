import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cluster, type NodeOfCluster } from '../../cluster.ts';

let cluster: Cluster;
let kept: NodeOfCluster;
let ended: NodeOfCluster;
before(async () => {
  cluster = await Cluster.start(2, { processes: 1 });
  [kept, ended] = cluster.nodes as [NodeOfCluster, NodeOfCluster];
});
after(() => cluster?.close());

const stateOf = async ({ name }: NodeOfCluster): Promise<unknown> => {
  const { items } = (await cluster.ok('GET', '/v1/nodes')).body;
  return items.find((item: { name: string }) => item.name === name)?.state;
};
const write = async (service: string) =>
  (await cluster.ok('PUT', `/v1/services/${service}?wait=all&timeout=20s`, {})).body;
const names = (nodes: readonly { node: string }[]) => nodes.map(({ node }) => node).sort();

test('a node that was stopped in order is not waited for until it is started again', async () => {
  assert.deepEqual(names((await write('before')).nodes), [kept.name, ended.name]);
  await ended.command.end();
  assert.equal(await stateOf(ended), 'stopped');
  const without = await write('without');
  assert.deepEqual([names(without.nodes), without.pending, without.stopped], [[kept.name], [], [ended.name]]);
  await cluster.restartNode(ended);
  await cluster.until('it runs again', async () => (await stateOf(ended)) === 'running');
  assert.deepEqual(names((await write('again')).nodes), [kept.name, ended.name]);
});

test('a node whose processes are replaced, in order or by force, never looks stopped', async () => {
  const seen = new Set<unknown>();
  const replaced = async (what: string, replace: (pid: number) => void) => {
    const [before] = cluster.pids(kept, 'sync');
    assert.ok(before !== undefined);
    replace(before);
    await cluster.until(what, async () => {
      seen.add(await stateOf(kept));
      const [now] = cluster.pids(kept, 'sync');
      return now !== undefined && now !== before;
    });
    // The one that came speaks for the node.
    assert.ok(names((await write(what.replaceAll(' ', '-'))).nodes).includes(kept.name));
    seen.add(await stateOf(kept));
  };
  await replaced('sync was killed', (pid) => process.kill(pid, 'SIGKILL'));
  await replaced('all was replaced', () => process.kill(kept.command.pid, 'SIGHUP'));
  assert.deepEqual([...seen], ['running']);
});
