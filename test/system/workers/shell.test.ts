/** The example that registers a program with sh and curl alone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { packageRoot } from '../../../shared/package-root.ts';
import { Cluster, visit } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';

const PROGRAM =
  'require("http").createServer((q, s) => s.end("from the script")).listen(process.env.PORT, "127.0.0.1")';

let cluster: Cluster;
before(async () => {
  cluster = await Cluster.start(1);
  await cluster.apply({ kind: 'domain', name: 'web.test', service: 'web' });
});
after(() => cluster.close());

test('the shell script registers, serves, registers again when it was forgotten, and leaves in order', async () => {
  const port = await freePort();
  const script = spawn('sh', [packageRoot('docs', 'examples', 'worker.sh'), 'node', '-e', PROGRAM], {
    env: {
      ...process.env,
      KONTROL_URL: cluster.apiUrl,
      KONTROL_TOKEN: cluster.token,
      SERVICE: 'web',
      PORT: String(port),
      TEST_CLUSTER_FOLDER: cluster.folder,
    },
    stdio: 'ignore',
  });
  const ended = once(script, 'exit');
  const workers = async () =>
    (await cluster.call('GET', '/v1/workers?service=web')).body.items as { id: string; state: string }[];
  const serves = async () => {
    const { status, body } = await visit(cluster.nodes[0]?.http ?? 0, 'web.test');
    return status === 200 && body === 'from the script';
  };
  await cluster.until('it serves', serves);
  const [first] = await workers();
  await cluster.ok('DELETE', `/v1/workers/${first?.id}`);
  await cluster.until('it is registered again', async () => {
    const [again] = await workers();
    return again !== undefined && again.id !== first?.id && again.state === 'ready';
  });
  await cluster.until('it serves again', serves);
  script.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  assert.deepEqual(await workers(), []);
});
