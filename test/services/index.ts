/** The real services that tests run against: `startRedis()` and `startMongo()`, each ready in a second or two. */
export { type MongoService, startMongo } from './mongo.ts';
export { type RedisService, startRedis } from './redis.ts';
