/** Every fault once, under five seconds of load. `make faults` runs them three times and longer. */
import { after, before, test } from 'node:test';
import { type MongoService, type RedisService, startMongo, startRedis } from '../services/index.ts';
import { ALL_CASES, runCase } from './run-case.ts';

let mongo: MongoService;
let redis: RedisService;
before(async () => {
  [mongo, redis] = await Promise.all([startMongo(), startRedis()]);
});
after(async () => {
  await Promise.all([mongo.stop(), redis.stop()]);
});

for (const one of ALL_CASES) {
  test(one.name, async (context) => {
    const summary = await runCase(one, { mongo, redis }, 5);
    context.diagnostic(JSON.stringify(summary));
  });
}
