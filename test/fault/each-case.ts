/** Each of some cases once, as a test, with MongoDB and Redis that they share. `make faults` runs them longer. */
import { after, before, test } from 'node:test';
import { type MongoService, type RedisService, startMongo, startRedis } from '../services/index.ts';
import type { FaultCase } from './cases.ts';
import { runCase } from './run-case.ts';

export function testEach(cases: readonly FaultCase[], seconds: number): void {
  let mongo: MongoService;
  let redis: RedisService;
  before(async () => {
    [mongo, redis] = await Promise.all([startMongo(), startRedis()]);
  });
  after(async () => {
    await Promise.all([mongo.stop(), redis.stop()]);
  });

  for (const one of cases) {
    test(one.name, async (context) => {
      const summary = await runCase(one, { mongo, redis }, seconds);
      context.diagnostic(JSON.stringify(summary));
    });
  }
}
