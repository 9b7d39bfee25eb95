/**
 * What `Cache-Status` says of why a backend was asked, and two visitors who have the same stored answer renewed at the
 * same time, each for itself: what one gets stays its own.
 */
import assert from 'node:assert/strict';
import { answer, request, type Scene, scene } from './cache-scene.ts';

/** Two visitors renew the same stored answer at once, each with a request to the backend of their own. */
async function twoRenew(s: Scene) {
  await s.through(request(), answer(['ETag: "a"', 'Cache-Control: max-age=1']));
  s.proxy.passTime(2_000);
  s.client.write(request(['Cookie: session=old']));
  const first = s.proxy.backend.accepted[0]!;
  await first.readHead();
  const other = await s.proxy.client();
  other.write(request(['Cookie: session=another']));
  const second = await s.proxy.backend.connection();
  assert.match(await second.readHead(), /if-none-match: "a"/i);
  return { first, second, other };
}

scene('a 304 that sets a cookie for one leaves no cookie for another who renews the same', {}, async (s) => {
  const { first, second, other } = await twoRenew(s);
  first.write(
    'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nSet-Cookie: session=new\r\nCache-Control: private\r\n\r\n',
  );
  const renewed = await s.client.readMessage();
  assert.deepEqual([renewed.body, renewed.fields.get('set-cookie')], ['hello', 'session=new']);
  assert.equal(renewed.fields.get('cache-control'), 'private');
  second.write('HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nCache-Control: max-age=60\r\n\r\n');
  const got = await other.readMessage();
  assert.deepEqual([got.body, got.fields.get('set-cookie')], ['hello', undefined]);
  assert.equal(got.fields.get('cache-control'), 'max-age=60');
  // What the second was told is good for all.
  assert.equal((await s.kept(request())).fields.get('set-cookie'), undefined);
});

scene(
  'a 304 that sets a cookie for one leaves no cookie in the answer that stands in for another',
  { staleIfError: '1m' },
  async (s) => {
    const { first, second, other } = await twoRenew(s);
    first.write('HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nSet-Cookie: session=new\r\n\r\n');
    assert.equal((await s.client.readMessage()).fields.get('set-cookie'), 'session=new');
    second.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
    const got = await other.readMessage();
    assert.deepEqual([got.status, got.body, got.fields.get('set-cookie')], [200, 'hello', undefined]);
  },
);

scene('the reason for asking a backend is told as RFC 9211 has it', {}, async (s) => {
  const fresh = answer(['ETag: "a"', 'Cache-Control: max-age=60', 'Vary: X-Kind']);
  const status = async (asked: readonly string[], answered = fresh) =>
    (await s.through(request(asked), answered)).got.fields.get('cache-status');
  assert.equal(await status(['X-Kind: one']), 'kontrol; fwd=uri-miss; stored');
  assert.equal(await status(['X-Kind: two']), 'kontrol; fwd=vary-miss; stored');
  const notModified = 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n';
  const forced = ['X-Kind: one', 'Cache-Control: no-cache'];
  assert.equal(await status(forced, notModified), 'kontrol; fwd=request; fwd-status=304');
  assert.equal(await status(forced), 'kontrol; fwd=request; stored');
  // Nothing says that answers may be given to whoever has a password.
  assert.match((await status(['X-Kind: one', 'Authorization: Basic eA=='])) ?? '', /^kontrol; fwd=request/);
  s.proxy.passTime(61_000);
  assert.equal(await status(['X-Kind: one'], notModified), 'kontrol; fwd=stale; fwd-status=304');
  s.proxy.passTime(61_000);
  assert.equal(await status(['X-Kind: one']), 'kontrol; fwd=stale; stored');
});

scene('a 304 that names other fields in Vary chooses who gets the answer from then on', {}, async (s) => {
  await s.through(request(['Accept-Language: en']), answer(['ETag: "a"', 'Cache-Control: max-age=1']));
  s.proxy.passTime(2_000);
  const varies =
    'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nVary: Accept-Language\r\nCache-Control: max-age=60\r\n\r\n';
  assert.equal((await s.through(request(['Accept-Language: en']), varies)).got.body, 'hello');
  assert.equal((await s.kept(request(['Accept-Language: en']))).body, 'hello');
  const other = await s.through(request(['Accept-Language: fr']), answer(['ETag: "b"'], 'salut'));
  assert.doesNotMatch(other.head, /if-none-match/i);
  assert.equal(other.got.body, 'salut');
});

scene('the time that a body takes makes the answer older', {}, async (s) => {
  s.client.write(request());
  const backend = await s.proxy.backend.connection();
  await backend.readHead();
  backend.write('HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nContent-Length: 5\r\n\r\nhe');
  await s.client.readUntil('he');
  s.proxy.passTime(30_000);
  backend.write('llo');
  await s.client.readUntil('llo');
  s.client.write(request());
  assert.match(await backend.readHead(), /^GET \/page /);
  backend.write(answer([], 'newer'));
  assert.equal((await s.client.readMessage()).body, 'newer');
});
