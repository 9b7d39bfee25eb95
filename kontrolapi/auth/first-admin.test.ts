import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import { Auth } from './auth.ts';
import { createFirstAdmin } from './first-admin.ts';

test('a data folder that cannot be written stops the start: nobody could ever log in', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-admin-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'not-a-folder');
  await writeFile(file, '');
  const auth = new Auth({
    live: { list: async () => [], get: async () => null } as unknown as LiveStore,
    clock: new ManualClock(),
    log: silentLog,
    apiToken: null,
    secureCookie: false,
  });
  const data = join(file, 'data');
  await assert.rejects(createFirstAdmin({ auth, data, terminal: true, log: silentLog }), {
    code: 'cannot_start',
    message: /admin-token cannot be written/,
  });
});
