import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeFolder } from './node-folder.ts';
import { orphanFolder } from './orphan-socket.ts';

test('a node has a folder of its own, whatever its name', () => {
  assert.equal(nodeFolder('/d', 'web-1.example'), '/d/web-1.example');
  assert.equal(nodeFolder('/d', '../x'), '/d/..%2fx');
  assert.equal(nodeFolder('/d', '..'), '/d/node-2');
});

test('the sockets of serving processes are in the folder of their node and of no other', () => {
  for (const node of ['web-1', 'a b', '../x', '..']) {
    assert.equal(orphanFolder('/d', node), nodeFolder('/d', node));
  }
  assert.notEqual(orphanFolder('/d', 'a/b'), orphanFolder('/d', 'a_b'));
});
