import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { socketConnector } from '../../proxy/upstream/connector.ts';
import { VARIANT, withProxy } from './harness.ts';

const GET = 'GET / HTTP/1.1\r\nHost: example.com\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('a request that goes in circles', () => {
  const ends = async (service: Record<string, unknown>) => {
    const real = socketConnector(() => VARIANT);
    let port = 0;
    const toItself: typeof real = {
      connect: (_, identity, outcome) =>
        real.connect({ type: 'tcp', host: '127.0.0.1', port, text: `127.0.0.1:${port}` }, identity, outcome),
    };
    await withProxy({ service, connector: toItself }, async (proxy) => {
      port = proxy.port;
      const client = await proxy.client();
      client.write(`${GET}Accept: text/plain\r\n\r\n`);
      const head = await client.readHead();
      assert.match(head, /^HTTP\/1\.1 508 Loop Detected\r\n/);
      assert.match(head, /\r\nProxy-Status: kontrol; error=proxy_loop_detected; details="loop"\r\n/i);
      await proxy.record(6);
      assert.deepEqual(
        proxy.records.map(({ cause, backendStatus }) => [cause, backendStatus]),
        [['loop', 0], ...new Array(5).fill([null, 508])],
      );
      assert.equal(proxy.decisions, 6);
      await proxy.settled(() => proxy.activeRequests() === 0, 'all backends to be free');
    });
  };

  it('ends with 508 where the backend is the proxy itself', () => ends({}));

  it('does not wait for itself where answers are shared', async () => {
    await ends({ coalesce: {} });
    await ends({ cache: {} });
  });

  it('is told by the names in Via alone: four tiers of proxies are taken', async () => {
    await withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(
        `${GET}Via: 1.1 kontrol, 1.1 cdn, 2.0 kontrol\r\nVia: 1.1 kontrol\r\nvia: 1.1 kontrol\r\n\r\n`,
      );
      const backend = await proxy.backend.connection();
      assert.equal((await backend.readHead()).match(/1 kontrol|0 kontrol/g)?.length, 5);
      backend.write(OK);
      assert.match(await client.readHead(), /^HTTP\/1\.1 200 /);
      assert.equal(await client.readBytes(2), 'ok');
      client.write(`${GET}Via: 1.1 kontrol, 1.1 kontrol, 1.1 kontrol, 1.1 kontrol, 1.1 kontrol\r\n\r\n`);
      assert.match(await client.readHead(), /^HTTP\/1\.1 508 /);
      assert.equal(proxy.records.at(-1)?.cause, 'loop');
    });
  });
});
