import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startApi } from '../../../kontrolapi/main.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { silentLog } from '../../../shared/log.ts';
import { ApiUnderTest, listOf, settingsFor } from './api-under-test.ts';
import { until } from './until.ts';

const DAY_MS = 86_400_000;

test('revisions are kept while they are young or among the last ones; older ones go, objects stay', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-retention-'));
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const settings = settingsFor(data);
  const api = new ApiUnderTest(await startApi(settings, silentLog, { clock }), settings, data);
  try {
    await api.patch('/v1/settings', { history: { days: 1, revisions: 10 } });
    for (let n = 2; n <= 15; n++) await api.put('/v1/services/kept', { labels: { n: String(n) } });
    await api.put('/v1/services/old', {});
    const seqs = async () =>
      listOf((await api.get('/v1/revisions?limit=1000')).body.items).map(({ seq }) => Number(seq));
    // Young ones stay, however many.
    clock.advance(3_600_000);
    assert.equal((await seqs()).length, 16);
    clock.advance(2 * DAY_MS);
    await until(async () => (await seqs()).length === 10);
    assert.deepEqual([(await seqs())[0], (await seqs()).at(-1)], [16, 7]);

    assert.equal((await api.get('/v1/services/old')).status, 200);
    assert.equal((await api.get('/v1/revisions/3')).status, 404);
    // Older than the history: an object that has not changed since is told, one that has is not.
    const earlier = await api.get('/v1/export?at=15');
    const labels = listOf(earlier.body.objects).map(({ kind, labels: told }) => [kind, told?.n]);
    assert.deepEqual(labels, [
      ['service', '15'],
      ['settings', undefined],
    ]);
    assert.equal((await api.get('/v1/export?at=6')).status, 404, 'what it was before the first that is kept');
    assert.equal((await api.get('/v1/export?at=3')).status, 404);
    const oldest = await api.get('/v1/revisions/7');
    assert.deepEqual([oldest.status, oldest.body.changes?.[0]?.change], [200, null]);
    assert.equal((await api.put('/v1/services/kept', {})).headers.get('kontrol-seq'), '17');
  } finally {
    await api.close();
    await rm(data, { recursive: true, force: true });
  }
});
