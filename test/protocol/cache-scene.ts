/** A service with a cache, a visitor and a backend that a test plays by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ProxyOptions, type TestProxy, withProxy } from './harness.ts';
import type { Message, Wire } from './wire.ts';

export function caching(
  cache: Record<string, unknown>,
  body: (proxy: TestProxy) => Promise<void>,
  options: ProxyOptions = {},
): Promise<void> {
  return withProxy(
    { ...options, service: { cache: { ttl: '1h', ...cache }, ...options.service } },
    async (proxy) => {
      await body(proxy);
      await proxy.idle();
      assert.equal(proxy.answers.underWay, 0, 'all memory of answers under way is given back');
      assert.equal(proxy.answers.open, 0, 'nothing is under way');
    },
  );
}

export function request(fields: readonly string[] = [], method = 'GET', target = '/page'): string {
  return [`${method} ${target} HTTP/1.1`, 'Host: example.com', ...fields, '', ''].join('\r\n');
}

export function answer(fields: readonly string[] = [], body = 'hello', line = 'HTTP/1.1 200 OK'): string {
  return [line, ...fields, `Content-Length: ${body.length}`, '', body].join('\r\n');
}

export class Scene {
  readonly proxy: TestProxy;
  readonly client: Wire;
  #backend: Wire | null = null;

  private constructor(proxy: TestProxy, client: Wire) {
    this.proxy = proxy;
    this.client = client;
  }

  static async of(proxy: TestProxy): Promise<Scene> {
    return new Scene(proxy, await proxy.client());
  }

  /** The visitor asks, the backend answers; what each of them got. */
  async through(asked: string, answered: string): Promise<{ head: string; got: Message }> {
    this.client.write(asked);
    this.#backend ??= await this.proxy.backend.connection();
    const head = await this.#backend.readHead();
    this.#backend.write(answered);
    return { head, got: await this.client.readMessage({ bodiless: asked.startsWith('HEAD') }) };
  }

  /** The visitor asks and gets an answer without the backend. */
  async kept(asked: string): Promise<Message> {
    this.client.write(asked);
    return this.client.readMessage({ bodiless: asked.startsWith('HEAD') });
  }

  /** The backend hears a request that no visitor waits for. */
  async background(answered: string): Promise<string> {
    const head = await this.#backend!.readHead();
    this.#backend!.write(answered);
    return head;
  }
}

export const scene = (
  name: string,
  cache: Record<string, unknown>,
  body: (scene: Scene) => Promise<void>,
  options: ProxyOptions = {},
) => test(name, () => caching(cache, async (proxy) => body(await Scene.of(proxy)), options));
