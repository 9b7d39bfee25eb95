/** Changes that undo themselves unless they are confirmed: the same cases on the embedded store and on MongoDB with Redis. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { SettingsOfProcess } from '../../../shared/settings.ts';
import { startMongo, startRedis } from '../../services/index.ts';
import { type ApiUnderTest, type Json, listOf, startApiUnderTest } from './api-under-test.ts';
import { until } from './until.ts';

const places = {
  'the embedded store': async () => {
    const data = await mkdtemp(join(tmpdir(), 'kontrol-confirm-'));
    return { settings: { data }, end: () => rm(data, { recursive: true, force: true }) };
  },
  'MongoDB and Redis': async () => {
    const [mongo, redis] = await Promise.all([startMongo(), startRedis()]);
    return {
      settings: { mongoUrl: mongo.url, redisUrl: redis.url },
      end: async () => {
        await Promise.all([mongo.stop(), redis.stop()]);
      },
    };
  },
} satisfies Record<string, () => Promise<{ settings: Partial<SettingsOfProcess>; end(): Promise<void> }>>;

for (const [name, open] of Object.entries(places)) {
  describe(`confirmWithin on ${name}`, () => {
    let place: { settings: Partial<SettingsOfProcess>; end(): Promise<void> };
    let apis: ApiUnderTest[] = [];
    const at = (index: number) => apis[index] as ApiUnderTest;
    before(async () => {
      place = await open();
      apis = await Promise.all([startApiUnderTest(place.settings), startApiUnderTest(place.settings)]);
    });
    after(async () => {
      await Promise.all(apis.map((api) => api.close()));
      await place.end();
    });
    const balanceOf = async (service: string) =>
      (await at(0).get(`/v1/services/${service}`)).body.balance as unknown as string | undefined;
    const revision = async (seq: number): Promise<Json> => (await at(1).get(`/v1/revisions/${seq}`)).body;
    const stateOf = async (seq: number) => String((await revision(seq)).confirm?.state);
    const undosOf = async (seq: number) =>
      listOf((await at(0).get('/v1/revisions?limit=1000')).body.items).filter(
        ({ undoes }) => Number(undoes) === seq,
      );
    const write = async (path: string, body: unknown, index = 0) => {
      const reply = await at(index).put(path, body);
      assert.ok(reply.status < 300, JSON.stringify(reply.body));
      return Number(reply.body.seq);
    };

    test('a worker that registers a new build meanwhile keeps nothing from being undone, and its build stays', async () => {
      await write('/v1/services/busy', { balance: 'random' });
      const seq = await write('/v1/services/busy?confirmWithin=2s', { balance: 'naive' });
      const worker = { service: 'busy', key: 5, port: 3_000, host: '10.0.0.5' };
      assert.equal((await at(1).post('/v1/workers', worker)).status, 201);
      await until(async () => (await stateOf(seq)) === 'undone');
      const { balance, keys } = (await at(0).get('/v1/services/busy')).body;
      assert.deepEqual({ balance, keys }, { balance: 'random', keys: { 5: {} } });
    });

    test('a change that nobody confirms is undone once, whoever of several APIs looks', async () => {
      await write('/v1/services/once', { balance: 'random' });
      const seqs: number[] = [];
      for (let round = 0; round < 5; round++) {
        seqs.push(await write(`/v1/services/once${round}?confirmWithin=1s`, {}, round % 2));
      }
      const seq = await write('/v1/services/once?confirmWithin=1s', { balance: 'naive' });
      assert.equal(await stateOf(seq), 'open');
      for (const each of [...seqs, seq]) await until(async () => (await stateOf(each)) === 'undone');
      assert.equal(await balanceOf('once'), 'random');
      assert.equal((await at(1).get('/v1/services/once3')).status, 404);
      for (const each of [...seqs, seq]) assert.equal((await undosOf(each)).length, 1);
      const undo = await revision(Number((await revision(seq)).confirm?.undoneBy));
      assert.deepEqual([undo.undoes, undo.author], [seq, 'kontrol']);
      assert.deepEqual(listOf(undo.changes)[0]?.fields, [{ path: 'balance', from: 'naive', to: 'random' }]);
    });

    test('a confirmed change stays; confirming is for what waits for it', async () => {
      const plain = await write('/v1/services/kept', { balance: 'random' });
      const seq = await write('/v1/services/kept?confirmWithin=1s', { balance: 'naive' });
      assert.equal((await at(1).post(`/v1/revisions/${seq}/confirm`)).status, 200);
      assert.equal((await at(0).post(`/v1/revisions/${seq}/confirm`)).status, 200);
      assert.equal((await at(0).post(`/v1/revisions/${plain}/confirm`)).status, 409);
      assert.equal((await at(0).post('/v1/revisions/99999/confirm')).status, 404);
      // One that is due later and undone proves that the first was looked at.
      const later = await write('/v1/services/later?confirmWithin=1s', {});
      await until(async () => (await stateOf(later)) === 'undone');
      assert.equal(await balanceOf('kept'), 'naive');
      assert.equal(await stateOf(seq), 'confirmed');
      assert.equal((await at(1).post(`/v1/revisions/${later}/confirm`)).status, 409);
    });

    test('confirming at the last moment and undoing exclude each other', async () => {
      await write('/v1/services/raced', { balance: 'random' });
      const seq = await write('/v1/services/raced?confirmWithin=1s', { balance: 'naive' });
      let confirmed = 0;
      let refused = 0;
      const due = Date.parse(String((await revision(seq)).confirm?.until));
      await until(() => Date.now() >= due - 5);
      for (const reply of await Promise.all(
        [0, 1, 0, 1].map((index) => at(index).post(`/v1/revisions/${seq}/confirm`)),
      )) {
        if (reply.status === 200) confirmed++;
        else refused++;
      }
      assert.ok(confirmed === 0 || refused === 0, `${confirmed} were told yes and ${refused} no`);
      await until(async () => ['confirmed', 'undone'].includes(await stateOf(seq)));
      assert.equal(await stateOf(seq), confirmed > 0 ? 'confirmed' : 'undone');
      assert.equal(await balanceOf('raced'), confirmed > 0 ? 'naive' : 'random');
      assert.equal((await undosOf(seq)).length, confirmed > 0 ? 0 : 1);
    });

    test('what was changed since stays, and is named; the rest is put back', async () => {
      await write('/v1/services/touched', { balance: 'random' });
      await write('/v1/services/untouched', { balance: 'random' });
      const reply = await at(0).post('/v1/apply?confirmWithin=1s', {
        owner: 'test',
        objects: [
          { kind: 'service', name: 'touched', balance: 'naive' },
          { kind: 'service', name: 'untouched', balance: 'naive' },
        ],
      });
      await write('/v1/services/touched', { balance: 'broker', owner: 'test' });
      await until(async () => (await stateOf(Number(reply.body.seq))) === 'undone');
      assert.deepEqual([await balanceOf('touched'), await balanceOf('untouched')], ['broker', 'random']);
      const { confirm } = await revision(Number(reply.body.seq));
      assert.deepEqual(confirm?.kept, ['service/touched: it was changed since']);
    });

    test('what others name by now stays, since it cannot go', async () => {
      const seq = await write('/v1/rules/named?confirmWithin=2s', {
        list: 'blacklist',
        type: 'ip',
        match: ['192.0.2.1'],
      });
      await write('/v1/domains/names.test', { service: 'kept', firewall: ['named'] });
      await until(async () => (await stateOf(seq)) === 'undone');
      assert.equal((await at(0).get('/v1/rules/named')).status, 200);
      assert.equal((await revision(seq)).confirm?.undoneBy, null);
    });

    test('of two unconfirmed changes of one object neither stays', async () => {
      await write('/v1/services/stacked', { balance: 'random' });
      const first = await write('/v1/services/stacked?confirmWithin=1s', { balance: 'naive' });
      const second = await write('/v1/services/stacked?confirmWithin=2s', { balance: 'broker' });
      await until(async () => (await stateOf(first)) === 'undone' && (await stateOf(second)) === 'undone');
      assert.equal(await balanceOf('stacked'), 'random');
    });

    test('it is undone by the next API that starts, when all were down', async () => {
      await write('/v1/services/restarted', { balance: 'random' });
      const seq = await write('/v1/services/restarted?confirmWithin=1s', { balance: 'naive' });
      await Promise.all(apis.map((api) => api.close()));
      apis = await Promise.all([startApiUnderTest(place.settings), startApiUnderTest(place.settings)]);
      await until(async () => (await stateOf(seq)) === 'undone');
      assert.equal(await balanceOf('restarted'), 'random');
      assert.equal((await undosOf(seq)).length, 1);
    });
  });
}
