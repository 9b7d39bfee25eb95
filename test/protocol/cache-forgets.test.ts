/** What makes stored answers go, and that nothing passes a decision by. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CompiledService } from '../../shared/routing/decision.ts';
import { answer, caching, request, Scene, scene } from './cache-scene.ts';
import { withProxy } from './harness.ts';

describe('stored answers go', () => {
  scene('when an unsafe request succeeds', {}, async (s) => {
    await s.through(request(), answer());
    await s.through(request([], 'GET', '/list'), answer([], 'list'));
    await s.through(request([], 'GET', '/kept'), answer([], 'kept'));
    const posted = await s.through(
      request(['Content-Length: 0'], 'POST'),
      answer(['Location: /list'], '', 'HTTP/1.1 201 Created'),
    );
    assert.equal(posted.got.fields.get('cache-status'), 'kontrol; fwd=method');
    await s.through(request(), answer([], 'newer'));
    await s.through(request([], 'GET', '/list'), answer([], 'newer'));
    assert.equal((await s.kept(request([], 'GET', '/kept'))).body, 'kept');
  });

  scene('when one succeeded that went through another process of the node', {}, async (s) => {
    await s.through(request(), answer());
    await s.through(request([], 'GET', '/kept'), answer([], 'kept'));
    await withProxy({ service: { cache: { ttl: '1h' } } }, async (proxy) => {
      const other = await Scene.of(proxy);
      // Nothing of this service is stored there.
      await other.through(
        request(['Content-Length: 0'], 'POST'),
        answer(['Location: /page'], '', 'HTTP/1.1 201 Created'),
      );
      assert.deepEqual(proxy.invalid, [['shop', 'http://example.com/page']]);
      s.proxy.answers.invalidate(proxy.invalid);
    });
    await s.through(request(), answer([], 'newer'));
    assert.equal((await s.kept(request([], 'GET', '/kept'))).body, 'kept');
    assert.deepEqual(s.proxy.invalid, []);
  });

  scene('not when it fails', {}, async (s) => {
    await s.through(request(), answer());
    await s.through(request(['Content-Length: 0'], 'POST'), answer([], '', 'HTTP/1.1 400 Bad Request'));
    assert.equal((await s.kept(request())).body, 'hello');
  });

  scene('by purge: a path, all that begin with one, or all', {}, async (s) => {
    for (const target of ['/a', '/a?x', '/a/b', '/c']) await s.through(request([], 'GET', target), answer());
    assert.equal(s.proxy.answers.purge('shop', '/nothing'), 0);
    assert.equal(s.proxy.answers.purge('shop', '/%61'), 2);
    assert.equal(s.proxy.answers.purge('shop', '/a/*'), 1);
    assert.equal(s.proxy.answers.purge('shop', null), 1);
    assert.equal(s.proxy.answers.bytes, 0);
  });

  scene('by purge, however the path is written', {}, async (s) => {
    for (const path of ['/caf%C3%A9', '/caf%c3%a9', '/café', '/x/../caf%C3%A9']) {
      await s.through(request([], 'GET', '/caf%c3%a9'), answer());
      assert.equal(s.proxy.answers.purge('shop', path), 1, path);
    }
    await s.through(request([], 'GET', '/a%20b/c'), answer());
    assert.equal(s.proxy.answers.purge('shop', '/a b/*'), 1);
  });

  scene('what is under way during a purge is not stored', {}, async (s) => {
    s.client.write(request());
    const backend = await s.proxy.backend.connection();
    await backend.readHead();
    s.proxy.answers.purge('shop', null);
    backend.write(answer());
    assert.equal((await s.client.readMessage()).body, 'hello');
    assert.equal(s.proxy.answers.bytes, 0);
  });

  scene('also not what some turned out to differ from', {}, async (s) => {
    const speaks = (language: string) => request([`Accept-Language: ${language}`]);
    s.client.write(speaks('en'));
    const backend = await s.proxy.backend.connection();
    await backend.readHead();
    const other = await s.proxy.client();
    other.write(speaks('fr'));
    await s.proxy.settled(() => s.proxy.decisions === 2, 'both to be decided');
    backend.write('HTTP/1.1 200 OK\r\nVary: Accept-Language\r\nContent-Length: 5\r\n\r\nhe');
    await s.client.readUntil('he');
    s.proxy.answers.purge('shop', null);
    backend.write('llo');
    await s.client.readUntil('llo');
    const second = await s.proxy.backend.connection();
    await second.readHead();
    second.write(answer(['Cache-Control: no-store'], 'salut'));
    assert.equal((await other.readMessage()).body, 'salut');
    assert.equal(s.proxy.answers.bytes, 0);
  });

  scene(
    'and stand in for no error, when they went while they were asked for anew',
    { staleIfError: '1h' },
    async (s) => {
      await s.through(request(), answer(['ETag: "a"', 'Cache-Control: max-age=1']));
      s.proxy.passTime(2_000);
      s.client.write(request());
      const backend = s.proxy.backend.accepted[0]!;
      await backend.readHead();
      s.proxy.answers.purge('shop', '/page');
      backend.write(answer([], '', 'HTTP/1.1 503 Service Unavailable'));
      assert.equal((await s.client.readMessage()).status, 503);
    },
  );

  scene('when the service gets another host, another backend, or no cache', {}, async (s) => {
    const { service, answers } = s.proxy;
    const changes = [
      { ...service, config: { ...service.config, host: 'inner.example' } },
      { ...service, keys: new Map() },
      { ...service, config: { ...service.config, cache: null } },
      null,
    ];
    for (const changed of changes) {
      await s.through(request(), answer());
      assert.ok(answers.bytes > 0);
      answers.setService('shop', { ...service });
      assert.ok(answers.bytes > 0, 'a change of something else keeps them');
      answers.setService('shop', changed);
      assert.equal(answers.bytes, 0);
      answers.setService('shop', service);
      answers.purge('shop', null);
    }
  });

  scene('when none of the backends of a key is left, also when the new ones come later', {}, async (s) => {
    const { service, answers } = s.proxy;
    const withBackends = (change: (address: string) => string[]) => {
      const keys = [...service.keys].map(([number, key]) => {
        const backends = key.backends.flatMap((one) =>
          change(one.address).map((address) => ({ ...one, address })),
        );
        return [number, { ...key, backends }] as const;
      });
      return { ...service, keys: new Map(keys) };
    };
    await s.through(request(), answer());
    answers.setService(
      'shop',
      withBackends((address) => [address, '127.0.0.2:1']),
    );
    answers.setService(
      'shop',
      withBackends(() => ['127.0.0.2:1']),
    );
    answers.setService(
      'shop',
      withBackends(() => []),
    );
    assert.ok(answers.bytes > 0, 'they may come back');
    answers.setService(
      'shop',
      withBackends(() => ['127.0.0.3:1']),
    );
    assert.equal(answers.bytes, 0);
  });

  scene('the one not used for longest, when there is no room', { size: '40KB' }, async (s) => {
    const body = 'x'.repeat(4_000);
    for (let i = 0; i < 20; i++) {
      await s.through(request([], 'GET', `/${i}`), answer([], body));
      assert.ok(s.proxy.answers.bytes <= 40 * 1_024);
      if (i < 5) assert.equal((await s.kept(request([], 'GET', '/0'))).body, body);
    }
    assert.equal((await s.kept(request([], 'GET', '/19'))).body, body);
    await s.through(request([], 'GET', '/1'), answer([], body));
  });
});

test('at the bound of the process the service that keeps most gives way to the others', () => {
  const services = new Map<string, CompiledService>();
  return caching(
    {},
    async (proxy) => {
      for (const name of ['large', 'small']) {
        services.set(name, { ...proxy.service, name });
        proxy.upstreams.setService(name, { ...proxy.service, name });
      }
      const [large, small] = [await Scene.of(proxy), await Scene.of(proxy)];
      const body = 'x'.repeat(4_000);
      for (let i = 0; i < 12; i++) await large.through(request([], 'GET', `/large/${i}`), answer([], body));
      for (let i = 0; i < 3; i++) {
        await small.through(request([], 'GET', `/small/${i}`), answer([], body));
        assert.ok(proxy.answers.bytes <= 40_000);
      }
      for (let i = 0; i < 3; i++)
        assert.equal((await small.kept(request([], 'GET', `/small/${i}`))).body, body);
      assert.equal((await large.kept(request([], 'GET', '/large/11'))).body, body);
    },
    {
      maxStored: 40_000,
      decide: ({ rawPath }, forward) => {
        const service = services.get(rawPath.split('/')[1] ?? '');
        return service === undefined ? forward : { ...forward, service };
      },
    },
  );
});

describe('what a decision refuses', () => {
  test('is refused whatever is stored', () => {
    let refuse = false;
    return caching(
      {},
      async (proxy) => {
        const s = await Scene.of(proxy);
        await s.through(request(), answer());
        refuse = true;
        assert.equal((await s.kept(request())).status, 403);
      },
      {
        decide: (_, forward) =>
          refuse
            ? {
                type: 'page',
                cause: 'rule_blocked',
                retryAfter: null,
                labels: forward.labels,
                response: null,
              }
            : forward,
      },
    );
  });
});
