import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../../shared/package-root.ts';
import { Cluster } from '../../cluster.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));

test('every command of docs/operations.md works, and every metric it names exists', async () => {
  const text = readFileSync(packageRoot('docs', 'operations.md'), 'utf8');
  const commands = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = '']) =>
    block.split('\n').filter((line) => line !== ''),
  );
  assert.ok(commands.length >= 8);
  const cluster = await Cluster.start(1);
  try {
    const internal = String(cluster.nodes[0]?.internal);
    // As printed, but for ports and folders.
    const adapted = commands.map((command) =>
      command
        .replaceAll('42007', internal)
        .replaceAll('7000', String(cluster.apiPort))
        .replaceAll('data/admin-token', `${cluster.data}/admin-token`)
        .replace('curl -s ', 'curl -sf '),
    );
    const script = `kontrol() { "${process.execPath}" "${MAIN}" "$@"; }\nset -e\n${adapted.join('\n')}\n`;
    const output = await new Promise<string>((resolve, reject) =>
      execFile(
        'sh',
        ['-c', script],
        { env: { ...process.env, KONTROL_URL: cluster.apiUrl, KONTROL_TOKEN: cluster.token } },
        (error, out, err) => (error === null ? resolve(out) : reject(new Error(`${err}${out}${error}`))),
      ),
    );
    for (const [metric] of text.matchAll(/kontrol_(?:[a-z]+_)+[a-z]+/g))
      assert.match(output, new RegExp(`^# TYPE ${metric} `, 'm'), metric);
  } finally {
    await cluster.close();
  }
});
