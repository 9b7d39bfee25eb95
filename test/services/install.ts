/** Installs, ahead of the tests, the services that they start: `node dist/test/services/install.js`. */
import { installFaketime } from './faketime.ts';
import { installMariadb } from './mariadb.ts';
import { installMongo } from './mongo.ts';
import { installRedis } from './redis.ts';

try {
  await installRedis();
  await installMongo();
  await installMariadb();
  await installFaketime();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
