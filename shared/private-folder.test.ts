import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { privateFolder } from './private-folder.ts';

const NAME = `kontrol-${userInfo().uid}`;

function inBase(body: (base: string) => void): void {
  const base = mkdtempSync(join(tmpdir(), 'kontrol-private-'));
  try {
    body(base);
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

test('the folder is made for this user alone, and found again', () => {
  inBase((base) => {
    const folder = privateFolder(base);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    assert.equal(privateFolder(base), folder);
  });
});

test('a folder that others may enter is refused, not repaired', () => {
  inBase((base) => {
    mkdirSync(join(base, NAME));
    chmodSync(join(base, NAME), 0o755);
    assert.throws(() => privateFolder(base), /not a private folder/);
  });
});

test('a link in its place is refused, wherever it leads', () => {
  inBase((base) => {
    mkdirSync(join(base, 'elsewhere'), { mode: 0o700 });
    symlinkSync(join(base, 'elsewhere'), join(base, NAME));
    assert.throws(() => privateFolder(base), /not a private folder/);
  });
});
