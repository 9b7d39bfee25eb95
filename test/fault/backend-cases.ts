/** What backends may do to visitors by coming and going all the time: nothing that a GET notices. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { freePort } from '../services/process.ts';
import { type FaultCase, HOST, type Stage } from './cases.ts';

const COUNT = 10;
/** Up for half of it, down for the other half. */
const PERIOD_MS = 2_000;

/** A backend that goes away with all its connections, and comes back on the same port. */
class FlappingBackend {
  readonly port: number;
  /** Times it went away. */
  falls = 0;
  #server: Server | null = null;

  constructor(port: number) {
    this.port = port;
  }

  async up(): Promise<void> {
    if (this.#server !== null) return;
    const server = createServer((request, response) => {
      request.resume();
      request.on('end', () => setTimeout(() => response.end('ok'), 5));
    });
    this.#server = server;
    // Whatever the case finds, it holds up nobody.
    server.unref();
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
  }

  down(): void {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    this.falls++;
    server.close();
    server.closeAllConnections();
  }
}

const FLAPPING = new WeakMap<Stage, readonly FlappingBackend[]>();

export const BACKEND_CASES: readonly FaultCase[] = [
  {
    name: '10 backends flapping every 2 s: no GET fails',
    embedded: true,
    async prepare(stage) {
      const backends: FlappingBackend[] = [];
      for (let index = 0; index < COUNT; index++) backends.push(new FlappingBackend(await freePort()));
      FLAPPING.set(stage, backends);
      await Promise.all(backends.map((backend) => backend.up()));
      await stage.cluster.apply(
        {
          kind: 'service',
          name: 'shop',
          backends: backends.map(({ port }) => `127.0.0.1:${port}`),
          passive: { attempts: 2, offline: '500ms' },
          health: { type: 'tcp', interval: '500ms' },
        },
        { kind: 'domain', name: HOST, service: 'shop' },
      );
    },
    async disturb(stage) {
      const backends = FLAPPING.get(stage) ?? [];
      const end = performance.now() + stage.seconds * 1_000;
      // They take turns: at each step one comes and one goes, so that about half of them are there at any time. The
      // steps are never made up for: after a stall of this process many would go at once, and that is another fault.
      for (let step = 0; performance.now() < end; step++) {
        await new Promise((resolve) => setTimeout(resolve, PERIOD_MS / COUNT));
        backends[step % COUNT]?.down();
        await backends[(step + COUNT / 2) % COUNT]?.up();
      }
      await Promise.all(backends.map((backend) => backend.up()));
    },
    judge(outcomes, stage) {
      const failed = outcomes.filter(
        (one) => one.method === 'GET' && (one.error !== null || one.status !== 200),
      );
      assert.deepEqual(failed, []);
      assert.ok((FLAPPING.get(stage) ?? []).every(({ falls }) => falls >= 1));
    },
    async afterwards(stage) {
      for (const backend of FLAPPING.get(stage) ?? []) backend.down();
    },
  },
];
