/** Several kontrolapi on one store: the same cases on the embedded store and on MongoDB with Redis. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { SettingsOfProcess } from '../../../shared/settings.ts';
import { type MongoService, type RedisService, startMongo, startRedis } from '../../services/index.ts';
import { type ApiUnderTest, listOf, startApiUnderTest } from './api-under-test.ts';

const places = {
  'the embedded store': async () => {
    const data = await mkdtemp(join(tmpdir(), 'kontrol-several-'));
    return { settings: { data }, end: () => rm(data, { recursive: true, force: true }) };
  },
  'MongoDB and Redis': async () => {
    const [mongo, redis]: [MongoService, RedisService] = await Promise.all([startMongo(), startRedis()]);
    return {
      settings: { mongoUrl: mongo.url, redisUrl: redis.url },
      end: async () => {
        await Promise.all([mongo.stop(), redis.stop()]);
      },
    };
  },
} satisfies Record<string, () => Promise<{ settings: Partial<SettingsOfProcess>; end(): Promise<void> }>>;

for (const [name, open] of Object.entries(places)) {
  describe(`several APIs on ${name}`, () => {
    let apis: ApiUnderTest[] = [];
    let end: () => Promise<void>;
    before(async () => {
      const place = await open();
      end = place.end;
      apis = await Promise.all([startApiUnderTest(place.settings), startApiUnderTest(place.settings)]);
    });
    after(async () => {
      await Promise.all(apis.map((api) => api.close()));
      await end();
    });
    const at = (index: number) => apis[index % apis.length] as ApiUnderTest;

    test('what one writes the other reads at once', async () => {
      for (let round = 0; round < 5; round++) {
        const labels = { round: String(round) };
        await at(round).put('/v1/services/seen', { labels });
        assert.deepEqual((await at(round + 1).get('/v1/services/seen')).body.labels, labels);
      }
    });

    test('a token made at one is good at the other', async () => {
      const { body } = await at(0).post('/v1/tokens', { name: 'shared', role: 'viewer' });
      assert.equal((await at(1).get('/v1/services', { token: String(body.token) })).status, 200);
    });

    test('with If-Match exactly one of many rivals wins each round', async () => {
      for (let round = 0; round < 3; round++) {
        const etag = (await at(0).get('/v1/services/seen')).headers.get('etag') ?? '';
        const replies = await Promise.all(
          Array.from({ length: 8 }, (_, rival) =>
            at(rival).put(
              '/v1/services/seen',
              { labels: { rival: `${round}-${rival}` } },
              { headers: { 'if-match': etag } },
            ),
          ),
        );
        assert.deepEqual(replies.map(({ status }) => status).sort(), [200, ...Array(7).fill(412)]);
      }
    });

    test('a host is claimed once, however many claim it at the same time', async () => {
      const replies = await Promise.all(
        Array.from({ length: 8 }, (_, rival) =>
          at(rival).put(`/v1/domains/claim${rival}.test`, { aliases: ['claimed.test'], service: 'seen' }),
        ),
      );
      assert.deepEqual(replies.map(({ status }) => status).sort(), [201, ...Array(7).fill(409)]);
    });

    test('changes from both sides are numbered without holes and all are there', async () => {
      const first = Number((await at(0).get('/v1/revisions?limit=1')).body.items?.[0]?.seq);
      const replies = await Promise.all(
        Array.from({ length: 40 }, (_, index) => at(index).put(`/v1/pages/p${index}`, { templates: {} })),
      );
      const seqs = replies.map(({ headers }) => Number(headers.get('kontrol-seq'))).sort((a, b) => a - b);
      assert.deepEqual(
        seqs,
        Array.from({ length: 40 }, (_, index) => first + 1 + index),
      );
      for (const api of apis) {
        assert.equal(listOf((await api.get('/v1/pages?limit=100')).body.items).length, 40);
      }
    });
  });
}

test('without a bus, stored answers of a service that one has just made can be removed at the other', async () => {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-several-'));
  const settings = { data, redisUrl: 'redis://127.0.0.1:1' };
  const [one, two] = await Promise.all([startApiUnderTest(settings), startApiUnderTest(settings)]);
  try {
    await two.get('/v1/services');
    assert.equal((await one.put('/v1/services/new', {})).status, 201);
    assert.equal((await two.delete('/v1/services/new/cache?timeout=10ms')).status, 200);
  } finally {
    await Promise.all([one.close(), two.close()]);
    await rm(data, { recursive: true, force: true });
  }
});
