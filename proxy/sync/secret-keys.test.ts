import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { generate } from 'selfsigned';
import { certificateKeySecret, seal } from '../../shared/secrets.ts';
import { SecretKeys } from './secret-keys.ts';

test('a pair that TLS could not serve is told before it takes the place of a good one', async () => {
  const keys = new SecretKeys(() => null, null);
  for (const [keySize, problem] of [
    [2_048, null],
    [512, /TLS cannot use the pair .*key too small/],
  ] as const) {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'a.test' }], { keySize });
    const keyDigest = createHash('sha256').update(key).digest('hex');
    keys.seed([{ name: certificateKeySecret(keyDigest), sealed: seal(key, null) }]);
    const told = keys.problemOf({ name: 'a', certificate: cert, keyDigest });
    if (problem === null) assert.equal(told, null);
    else assert.match(String(told), problem);
  }
});

test('of a load of thousands not all are tried out in one turn', async () => {
  const keys = new SecretKeys(() => null, null);
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'a.test' }], { keySize: 512 });
  const keyDigest = createHash('sha256').update(key).digest('hex');
  keys.seed([{ name: certificateKeySecret(keyDigest), sealed: seal(key, null) }]);
  const problem = () => keys.problemOf({ name: 'a', certificate: cert, keyDigest });
  let told = 0;
  while (problem() !== null) told++;
  assert.equal(told, 500);
  await new Promise((resolve) => setImmediate(resolve));
  assert.match(String(problem()), /TLS cannot use the pair/);
});
