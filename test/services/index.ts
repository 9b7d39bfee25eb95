/** The real services that tests run against: `startRedis()`, `startMongo()` and `startMariadb()`, each ready in a second or two. */
export { type MariadbService, startMariadb } from './mariadb.ts';
export { type MongoService, startMongo } from './mongo.ts';
export { type RedisService, startRedis } from './redis.ts';
