/**
 * What every bus must do, run on each adapter. A place is where the buses of one test meet: a Redis server, or a data
 * folder with a hub in another process. Its middle can be killed, brought back, and made to hang.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Log } from '../log.ts';
import { type Bus, type Channel, MAX_MESSAGE_BYTES } from './contract.ts';

export interface BusPlace {
  /** One more participant, with a ping of 50 ms and a silence of 400 ms. */
  open(log: Log): Bus;
  /** Ends the middle at once, as kill -9 does. */
  kill(): Promise<void>;
  /** Sees to it that there is a middle again. */
  restore(): Promise<void>;
  /** The middle stops answering, its connections stay open. */
  freeze(): void;
  thaw(): void;
  /** Sends bytes by hand, past our own encoding. */
  sendRaw(channel: Channel, payload: string | Buffer): Promise<void>;
  close(): Promise<void>;
}

/** Waits for what no event tells, with a deadline. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A log that remembers. */
export function recordingLog(): { log: Log; lines: { code: string; text: string }[] } {
  const lines: { code: string; text: string }[] = [];
  const add = (code: string, message: string, fields: object = {}) => {
    lines.push({ code, text: `${message} ${JSON.stringify(fields)}` });
  };
  const log: Log = { debug: add, info: add, warn: add, error: add, child: () => log };
  return { log, lines };
}

/** A bus with all it heard. */
class Listener {
  readonly bus: Bus;
  readonly heard: (Readonly<Record<string, unknown>> | undefined)[] = [];
  connects = 0;
  readonly lines: { code: string; text: string }[];

  constructor(place: BusPlace, channel: Channel = 'updateProxy') {
    const { log, lines } = recordingLog();
    this.lines = lines;
    this.bus = place.open(log);
    this.bus.subscribe(channel, (message) => this.heard.push(message));
    this.bus.onConnected(() => this.connects++);
  }

  count(code: string): number {
    return this.lines.filter((line) => line.code === code).length;
  }
}

export function busConformance(name: string, openPlace: () => Promise<BusPlace>): void {
  const onBus = (
    title: string,
    body: (place: BusPlace, listen: (channel?: Channel) => Listener) => Promise<void>,
  ) =>
    test(`${name}: ${title}`, async () => {
      const place = await openPlace();
      const listeners: Listener[] = [];
      const listen = (channel?: Channel) => {
        const listener = new Listener(place, channel);
        listeners.push(listener);
        return listener;
      };
      try {
        await body(place, listen);
      } finally {
        await Promise.all(listeners.map(({ bus }) => bus.close()));
        await place.close();
      }
    });
  const connected = (...listeners: Listener[]) =>
    until('all are connected', () => listeners.every(({ bus }) => bus.connected));

  onBus('every participant hears each message once and in order, also its own', async (_place, listen) => {
    const all = [listen(), listen(), listen()];
    await connected(...all);
    for (let seq = 1; seq <= 20; seq++) all[0]?.bus.publish('updateProxy', { seq, members: 'ü' });
    await until('all have heard all', () => all.every(({ heard }) => heard.length >= 20));
    const expected = Array.from({ length: 20 }, (_, i) => ({ seq: i + 1, members: 'ü' }));
    for (const { heard } of all) assert.deepEqual(heard, expected);
  });

  onBus('a channel is heard by those who asked for it, until they take it back', async (_place, listen) => {
    const updates = listen('updateProxy');
    const events = listen('kontrol:events');
    await connected(updates, events);
    const second: unknown[] = [];
    const stop = updates.bus.subscribe('updateProxy', (message) => second.push(message));
    events.bus.publish('updateProxy', { seq: 1 });
    await until('both handlers heard it', () => updates.heard.length === 1 && second.length === 1);
    stop();
    stop();
    events.bus.publish('updateProxy', { seq: 2 });
    events.bus.publish('kontrol:events', { type: 'x' });
    await until('the rest was heard', () => updates.heard.length === 2 && events.heard.length === 1);
    assert.equal(second.length, 1);
    assert.deepEqual(events.heard, [{ type: 'x' }]);
  });

  onBus('a channel that is asked for while connected is heard from then on', async (_place, listen) => {
    const listener = listen('kontrol:ask');
    await connected(listener);
    const answers: unknown[] = [];
    listener.bus.subscribe('kontrol:answer', (message) => answers.push(message));
    await until('an answer is heard', () => {
      listener.bus.publish('kontrol:answer', { id: 1 });
      return answers.length > 0;
    });
    assert.deepEqual(answers[0], { id: 1 });
    assert.deepEqual(listener.heard, []);
  });

  onBus(
    'onConnected is called after the connection came, and not when it was taken back',
    async (place, listen) => {
      const listener = listen();
      let stopped = 0;
      const stop = listener.bus.onConnected(() => stopped++);
      stop();
      assert.equal(listener.bus.connected, false);
      await connected(listener);
      assert.equal(listener.connects, 1);
      assert.equal(stopped, 0);
      assert.equal(typeof place, 'object');
    },
  );

  onBus(
    'what is published before the connection is there is dropped without a word',
    async (_place, listen) => {
      const early = listen();
      early.bus.publish('updateProxy', { seq: 1 });
      await connected(early);
      early.bus.publish('updateProxy', { seq: 2 });
      await until('the second is heard', () => early.heard.length > 0);
      assert.deepEqual(early.heard, [{ seq: 2 }]);
    },
  );

  onBus('garbage, empty and oversized messages are heard as undefined', async (place, listen) => {
    const listener = listen();
    await connected(listener);
    const garbage = [
      '',
      'now!',
      '{"seq":',
      '[1]',
      '7',
      '"text"',
      'null',
      Buffer.from([0xff, 0xfe, 0x00, 0x7b]),
    ];
    for (const payload of garbage) await place.sendRaw('updateProxy', payload);
    await place.sendRaw('updateProxy', JSON.stringify({ seq: 1, pad: 'x'.repeat(MAX_MESSAGE_BYTES) }));
    await place.sendRaw('updateProxy', '{"seq":5}');
    await until('all were heard', () => listener.heard.length === garbage.length + 2);
    assert.deepEqual(listener.heard, [...Array(garbage.length + 1).fill(undefined), { seq: 5 }]);
  });

  onBus(
    'a message of exactly the limit passes, a larger one or one that is no JSON is not sent',
    async (_place, listen) => {
      const listener = listen();
      await connected(listener);
      const pad = 'x'.repeat(MAX_MESSAGE_BYTES - '{"pad":""}'.length);
      const circle: Record<string, unknown> = {};
      circle['self'] = circle;
      listener.bus.publish('updateProxy', circle);
      listener.bus.publish('updateProxy', { pad: `${pad}x` });
      listener.bus.publish('updateProxy', { pad });
      await until('the one is heard', () => listener.heard.length > 0);
      assert.deepEqual(listener.heard, [{ pad }]);
      assert.deepEqual(
        [listener.count('bus_message_invalid'), listener.count('bus_message_too_large')],
        [1, 1],
      );
    },
  );

  onBus('a handler that throws keeps nobody else from hearing', async (_place, listen) => {
    const first = listen();
    first.bus.subscribe('updateProxy', () => {
      throw new Error('on purpose');
    });
    let third = 0;
    first.bus.subscribe('updateProxy', () => third++);
    await connected(first);
    first.bus.publish('updateProxy', { seq: 1 });
    first.bus.publish('updateProxy', { seq: 2 });
    await until('both were heard', () => third === 2);
    assert.equal(first.count('bus_handler_failed'), 2);
  });

  onBus(
    'when the middle is killed and comes back, everyone is told and hears again',
    async (place, listen) => {
      const all = [listen(), listen(), listen()];
      await connected(...all);
      await place.kill();
      for (const { bus } of all) bus.publish('updateProxy', { perhaps: 'lost' });
      await place.restore();
      await until('all were told', () => all.every(({ connects, bus }) => connects > 1 && bus.connected));
      await until('all hear again', () => {
        all[1]?.bus.publish('updateProxy', { again: true });
        return all.every(({ heard }) => heard.some((message) => message?.['again'] === true));
      });
    },
  );

  onBus('a middle that hangs with its connections open is noticed', async (place, listen) => {
    const listener = listen();
    await connected(listener);
    place.freeze();
    try {
      // It may have found another middle by then; that the old one counts as lost is what matters.
      await until('the loss was noticed', () => listener.count('bus_lost') > 0);
    } finally {
      place.thaw();
    }
    await until('it was told', () => listener.connects > 1 && listener.bus.connected);
  });

  onBus('a storm from all sides ends, and the next message passes', async (_place, listen) => {
    const all = [listen(), listen(), listen()];
    await connected(...all);
    for (let i = 0; i < 5_000; i++)
      for (const { bus } of all) bus.publish('updateProxy', { i, pad: 'x'.repeat(200) });
    await until('all hear one that was sent later', () => {
      all[1]?.bus.publish('updateProxy', { after: true });
      return all.every(({ heard }) => heard.some((message) => message?.['after'] === true));
    });
    for (const { heard } of all) assert.ok(heard.every((message) => message !== undefined));
  });

  onBus('after close nothing is heard, sent or thrown, and the others go on', async (_place, listen) => {
    const [leaving, staying] = [listen(), listen()];
    await connected(leaving, staying);
    await Promise.all([leaving.bus.close(), leaving.bus.close()]);
    await leaving.bus.close();
    assert.equal(leaving.bus.connected, false);
    leaving.bus.publish('updateProxy', { from: 'the grave' });
    await until('the other one hears itself', () => {
      staying.bus.publish('updateProxy', { alive: true });
      return staying.heard.length > 0;
    });
    assert.deepEqual(staying.heard[0], { alive: true });
    assert.deepEqual(leaving.heard, []);
  });

  onBus('a bus that is closed before it was connected stays closed', async (_place, listen) => {
    const listener = listen();
    await listener.bus.close();
    assert.equal(listener.bus.connected, false);
    assert.equal(listener.connects, 0);
  });
}
