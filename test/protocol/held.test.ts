import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Held, type RateGate, Ticket } from '../../proxy/rate/gate.ts';
import { limited } from '../../proxy/rate/limit-fields.ts';
import type { Decision, Forward } from '../../shared/routing/decision.ts';
import type { RateCount } from '../../shared/routing/rate.ts';
import { type TestProxy, withProxy } from './harness.ts';
import { dechunk } from './wire.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const COUNT: RateCount = {
  rule: 'slow',
  rate: { requests: 1, periodMs: 60_000, by: 'client', scope: 's', policy: '"slow";q=1;w=60' },
  key: 'k',
  dryRun: false,
};

/** Holds every request until the test says what becomes of it. */
class HoldingGate {
  readonly held: { readonly ticket: Ticket; readonly decision: Decision; readonly held: Held }[] = [];

  count(decision: Decision, address: string, held: Held): Ticket {
    const ticket = new Ticket(decision, decision.counts ?? [], address, held);
    this.held.push({ ticket, decision, held });
    return ticket;
  }

  /** As the gate does: whoever left is not told. */
  pass(index: number): void {
    const { ticket, decision, held } = this.held[index]!;
    if (!ticket.cancelled) held.onCounted({ ...decision });
  }

  refuse(index: number): void {
    const { ticket, decision, held } = this.held[index]!;
    if (!ticket.cancelled) held.onCounted(limited(decision, COUNT, 30_000));
  }
}

async function holding(
  body: (proxy: TestProxy, gate: HoldingGate) => Promise<void>,
  limits: Forward['limits'] = null,
): Promise<void> {
  await withProxy({ decide: (_, forward) => ({ ...forward, counts: [COUNT], limits }) }, async (proxy) => {
    const gate = new HoldingGate();
    Object.assign(proxy.environment, { rates: gate as unknown as RateGate });
    await body(proxy, gate);
  });
}

const heldIs = (proxy: TestProxy, gate: HoldingGate, count: number) =>
  proxy.settled(() => gate.held.length === count, `${count} held requests`);

describe('a request that a rate rule holds', () => {
  it('touches no backend before it may go on, and goes on whole', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write('POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234');
      await heldIs(proxy, gate, 1);
      assert.equal(proxy.backend.accepted.length, 0);
      gate.pass(0);
      const backend = await proxy.backend.connection();
      client.write('56789');
      const request = await backend.readMessage();
      assert.equal(request.line, 'POST /up HTTP/1.1');
      assert.equal(request.body, '0123456789');
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await client.readMessage()).body, 'ok');
      await proxy.idle();
    }));

  it('keeps a chunked body that arrived meanwhile, with its end', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write(
        'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n',
      );
      await heldIs(proxy, gate, 1);
      gate.pass(0);
      const backend = await proxy.backend.connection();
      assert.equal(dechunk((await backend.readMessage()).body), 'abcdef');
      backend.write('HTTP/1.1 204 No Content\r\n\r\n');
      assert.equal((await client.readMessage()).status, 204);
      await proxy.idle();
    }));

  it('holds a large body back and passes it on without a byte missing', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      const body = 'x'.repeat(2_000_000);
      client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      await heldIs(proxy, gate, 1);
      // The socket is not read on while it waits.
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(proxy.received < 500_000, `${proxy.received} bytes were read`);
      gate.pass(0);
      const backend = await proxy.backend.connection();
      assert.equal((await backend.readMessage()).body.length, body.length);
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      assert.equal((await client.readMessage()).status, 200);
      await proxy.idle();
    }));

  it('sends a body on to a connection that was there before, at the pace of the backend', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write(GET);
      await heldIs(proxy, gate, 1);
      gate.pass(0);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      await client.readMessage();
      backend.socket.pause();
      const body = 'x'.repeat(30_000_000);
      const before = proxy.received;
      client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      await heldIs(proxy, gate, 2);
      gate.pass(1);
      await proxy.settled(() => proxy.received - before > 1_000_000, 'the body to flow');
      let last = -1;
      while (proxy.received !== last) {
        last = proxy.received;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.ok(last - before < 25_000_000, `${last - before} bytes were read for a backend that reads none`);
      backend.socket.resume();
      assert.equal((await backend.readMessage()).body.length, body.length);
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      assert.equal((await client.readMessage()).status, 200);
      await proxy.idle();
    }));

  it('is answered 429 with its fields, and the connection serves the next one', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc${GET}`);
      await heldIs(proxy, gate, 1);
      gate.refuse(0);
      const refusal = await client.readMessage();
      assert.equal(refusal.status, 429);
      assert.equal(refusal.fields.get('retry-after'), '30');
      assert.equal(refusal.fields.get('ratelimit'), '"slow";r=0;t=30');
      await heldIs(proxy, gate, 2);
      gate.pass(1);
      const backend = await proxy.backend.connection();
      await backend.readHead();
      backend.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      assert.equal((await client.readMessage()).body, 'ok');
      const record = await proxy.record(1);
      assert.deepEqual([record.cause, record.status], ['rate_limited', 429]);
      await proxy.idle();
      assert.equal(proxy.records.length, 2);
    }));

  it('pipelined requests are held one after the other and answered in order', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write(GET + GET + GET);
      for (let i = 0; i < 3; i++) {
        await heldIs(proxy, gate, i + 1);
        if (i === 1) gate.refuse(i);
        else {
          gate.pass(i);
          const backend = await proxy.backend.connection().catch(() => null);
          const wire = backend ?? proxy.backend.accepted[0]!;
          if (i === 0) {
            await wire.readHead();
            wire.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n0');
            wire.end();
          } else {
            await wire.readHead();
            wire.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2');
          }
        }
      }
      const statuses = [];
      for (let i = 0; i < 3; i++) statuses.push((await client.readMessage()).status);
      assert.deepEqual(statuses, [200, 429, 200]);
      await proxy.idle();
    }));

  it('a client that leaves is 499 at once, takes no place, and its late word does nothing', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234');
      await heldIs(proxy, gate, 1);
      client.reset();
      // A paused socket notices when it is read or written again; a reset at once.
      await proxy.settled(() => proxy.connections.size === 0, 'the connection to end');
      const record = await proxy.record(1);
      assert.deepEqual([record.cause, record.status, record.phase], ['client_gone', 499, 'decide']);
      assert.equal(gate.held[0]?.ticket.cancelled, true);
      gate.pass(0);
      assert.equal(proxy.backend.accepted.length, 0);
      assert.equal(proxy.records.length, 1);
    }));

  it('a process that stops ends it without a word', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write(GET);
      await heldIs(proxy, gate, 1);
      for (const connection of [...proxy.connections]) connection.closeNow();
      assert.equal(await client.readToEnd(), '');
      gate.pass(0);
      assert.equal(proxy.backend.accepted.length, 0);
    }));

  it('a body that breaks the framing while it waits gets 400, and nothing reaches a backend', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n');
      await heldIs(proxy, gate, 1);
      assert.equal((await client.readMessage()).status, 400);
      gate.pass(0);
      assert.equal(proxy.backend.accepted.length, 0);
      await proxy.settled(() => proxy.connections.size === 0, 'the connection to end');
    }));

  it('an answer of ours after it was counted begins the next request inside, which is held as well', () =>
    holding(async (proxy, gate) => {
      const client = await proxy.client();
      client.write(GET.repeat(4));
      for (let i = 0; i < 4; i++) {
        await heldIs(proxy, gate, i + 1);
        gate.refuse(i);
      }
      for (let i = 0; i < 4; i++) assert.equal((await client.readMessage()).status, 429);
      await proxy.idle();
      assert.equal(proxy.records.length, 4);
    }));

  it('keeps to the limits of its route', () =>
    holding(
      async (proxy, gate) => {
        const client = await proxy.client();
        client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
        await heldIs(proxy, gate, 1);
        gate.pass(0);
        await (await proxy.backend.connection()).readHead();
        client.write('9\r\ndefghijkl\r\n0\r\n\r\n');
        assert.equal((await client.readMessage()).status, 413);
      },
      { body: 5, bodyRate: 0, bodyIdleMs: 5_000 },
    ));
});
