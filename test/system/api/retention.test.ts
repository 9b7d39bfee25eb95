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
    await api.put('/v1/services/kept', { labels: { n: '2' } });
    await api.put('/v1/services/kept', { labels: { n: '3' } });
    for (let n = 4; n <= 14; n++) await api.put(`/v1/pages/p${n}`, { templates: {} });
    await api.put('/v1/services/kept', { labels: { n: '15' } });
    await api.put('/v1/services/late', {});
    const seqs = async () =>
      listOf((await api.get('/v1/revisions?limit=1000')).body.items).map(({ seq }) => Number(seq));
    // Young ones stay, however many.
    clock.advance(3_600_000);
    assert.equal((await seqs()).length, 16);
    clock.advance(2 * DAY_MS);
    await until(async () => (await seqs()).length === 10);
    assert.deepEqual([(await seqs())[0], (await seqs()).at(-1)], [16, 7]);

    assert.equal((await api.get('/v1/pages/p4')).status, 200);
    assert.equal((await api.get('/v1/revisions/3')).status, 410);
    const told = listOf((await api.get('/v1/export?at=15')).body.objects).map(
      ({ kind, name }) => `${kind} ${name}`,
    );
    assert.equal(told.length, 13);
    assert.ok(!told.includes('service late'), 'what came later was not there');
    const oldest = await api.get('/v1/revisions/7');
    assert.deepEqual([oldest.status, oldest.body.changes?.[0]?.change], [200, 'create']);
    // What "kept" was before revision 15 is not known any more: no answer is better than a wrong one.
    assert.equal((await api.get('/v1/revisions/15')).body.changes?.[0]?.change, null);
    assert.equal((await api.get('/v1/export?at=14')).status, 410);
    assert.equal((await api.get('/v1/export?at=2')).status, 410);
    assert.equal((await api.post('/v1/revisions/2/restore')).status, 410);
    assert.equal((await api.put('/v1/services/kept', {})).headers.get('kontrol-seq'), '17');
  } finally {
    await api.close();
    await rm(data, { recursive: true, force: true });
  }
});

test('a revision that retention has passed is not made up, although nothing it changed was changed again', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-retention-'));
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const settings = settingsFor(data);
  const api = new ApiUnderTest(await startApi(settings, silentLog, { clock }), settings, data);
  try {
    await api.patch('/v1/settings', { history: { days: 1, revisions: 10 } });
    await api.put('/v1/services/kept', { labels: { n: '2' } });
    await api.put('/v1/services/kept', { labels: { n: '3' } });
    for (let n = 4; n <= 16; n++) await api.put(`/v1/pages/p${n}`, { templates: {} });
    clock.advance(2 * DAY_MS);
    await until(async () => (await api.get('/v1/revisions/6')).status === 410);
    assert.equal((await api.get('/v1/export?at=6')).status, 200);
    assert.equal((await api.get('/v1/export?at=2')).status, 410);
  } finally {
    await api.close();
    await rm(data, { recursive: true, force: true });
  }
});
