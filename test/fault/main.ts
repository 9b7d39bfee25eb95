/** `make faults`: every case under the full standard load, three times; prints the counts of each run. */
import { startMongo, startRedis } from '../services/index.ts';
import { ALL_CASES, runCase } from './run-case.ts';

const SECONDS = Number(process.env['FAULT_SECONDS'] ?? 30);
const RUNS = Number(process.env['FAULT_RUNS'] ?? 3);
const wanted = process.argv.slice(2);

const [mongo, redis] = await Promise.all([startMongo(), startRedis()]);
let failed = 0;
let passed = 0;
try {
  for (const one of ALL_CASES) {
    if (wanted.length > 0 && !wanted.some((text) => one.name.includes(text))) continue;
    process.stdout.write(`${one.name}\n`);
    for (let run = 1; run <= RUNS; run++) {
      try {
        const { requests, ok, failedGets, failedPosts, statuses, errors, retried } = await runCase(
          one,
          { mongo, redis },
          SECONDS,
        );
        passed++;
        process.stdout.write(
          `  run ${run}: ${requests} requests, ${ok} ok, ${failedGets} GETs and ${failedPosts} POSTs without a 200, statuses ${JSON.stringify(statuses)}, errors ${JSON.stringify(errors)}, ${retried} repeated by the client\n`,
        );
      } catch (error) {
        failed++;
        process.stdout.write(`  run ${run}: FAILED: ${(error as Error).message}\n`);
      }
    }
  }
} finally {
  await Promise.all([mongo.stop(), redis.stop()]);
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
