import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportWrite, writeQuery } from './writes.ts';

/** What a write answers is printed as, with the exit code. */
function printed(status: number, body: Record<string, unknown>): string {
  const lines: string[] = [];
  const { stdout, stderr } = process;
  const writes = [stdout.write, stderr.write] as const;
  const take = (text: unknown) => {
    lines.push(String(text));
    return true;
  };
  stdout.write = take as typeof stdout.write;
  stderr.write = take as typeof stderr.write;
  try {
    const headers = new Headers({ 'Kontrol-Seq': '7' });
    const code = reportWrite({ status, headers, body: { written: true, ...body } }, { wait: true } as never);
    return `${lines.join('')}${code}`;
  } finally {
    [stdout.write, stderr.write] = writes;
  }
}

test('a change that a node could not put in force is not called served, and the exit code says so', () => {
  const nodes = [{ node: 'a', ms: 3 }];
  const problems = [{ node: 'b', kind: 'listener', name: 'mysql', reason: 'the port is in use' }];
  assert.equal(
    printed(200, { nodes, pending: [], problems: [] }),
    'revision 7; served by every node (a 3 ms)\n0',
  );
  assert.equal(
    printed(202, { nodes, pending: [], problems }),
    'revision 7; not served by b\nkontrol: b does not serve listener mysql: the port is in use\n1',
  );
  assert.equal(printed(202, { nodes, pending: ['c'], problems: [] }), 'revision 7; not served yet by c\n1');
  assert.equal(
    printed(200, { nodes, pending: [], stopped: ['d'], problems: [] }),
    'revision 7; served by every node (a 3 ms); not waited for d, which stopped\n0',
  );
  assert.equal(
    printed(202, { nodes: [], pending: [] }),
    'revision 7; no node is known yet that could serve it\n0',
  );
});

test('a write says with --message why it was made, in any words', () => {
  assert.equal(
    writeQuery({ message: 'moved & renamed: #7', wait: true }),
    '?wait=all&message=moved+%26+renamed%3A+%237',
  );
  assert.equal(writeQuery({}), '');
});
