import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { packageRoot } from '../shared/package-root.ts';
import { conformanceRows, hasTest } from './conformance-table.ts';
import { MUTANTS } from './fuzz/mutant-list.ts';

describe('docs/conformance.md', () => {
  const rows = conformanceRows();

  it('names a test for every rule, and every one is where it says', () => {
    assert.ok(rows.length > 150, `${rows.length} rows were read`);
    const sources = new Map<string, string>();
    const missing = rows.filter(({ file, test }) => {
      if (test === '' || !existsSync(packageRoot(file))) return true;
      const source = sources.get(file) ?? readFileSync(packageRoot(file), 'utf8');
      sources.set(file, source);
      return !hasTest(source, test);
    });
    assert.deepEqual(missing, []);
  });

  it('every change that `make mutants` makes can be made to the sources as they are', () => {
    const stale = MUTANTS.filter(({ file, from, testFile, test }) => {
      const once = readFileSync(packageRoot(file), 'utf8').split(from).length === 2;
      return !once || !rows.some((row) => row.file === testFile && row.test === test);
    });
    assert.deepEqual(stale, []);
  });

  it('a name that no test has is noticed', () => {
    const source = `it('one', f); for (const [what] of Object.entries({ 'a b': 1 })) it(\`\${what}: \${status}\`, f);`;
    assert.ok(hasTest(source, 'one') && hasTest(source, 'a b: 400'));
    for (const name of ['two', 'on', 'one ', 'a c: 400', 'a b: x', 'a b'])
      assert.equal(hasTest(source, name), false, name);
  });
});
