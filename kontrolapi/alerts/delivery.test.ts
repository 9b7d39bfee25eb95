import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../shared/clock.ts';
import type { Notice } from './board.ts';
import { Deliveries } from './delivery.ts';
import { sendMail } from './mail.ts';
import { messageOf, subjectOf, textOf } from './message.ts';
import { isQuiet } from './quiet.ts';
import { HttpSink, MailSink } from './sinks-for-test.ts';
import { guardedLookup } from './targets.ts';
import { postWebhook, signatureOf } from './webhook.ts';

const AT = Date.UTC(2026, 0, 1);
const notice = (title: string, more: Partial<Notice> = {}): Notice => ({
  key: title,
  state: 'raised',
  urgent: false,
  title,
  detail: 'because',
  since: AT,
  ...more,
});
const MESSAGE = messageOf([notice('service shop has no backend left')], AT);
const anywhere = () => null;
const never = new AbortController().signal;

test('a webhook gets the message as JSON, signed over time and body', async (t) => {
  const sink = await HttpSink.start();
  t.after(() => sink.close());
  await postWebhook({ url: sink.url('/hook?x=1'), secret: 'geheim' }, MESSAGE, AT + 5_999, anywhere, never);
  const [posted] = sink.posted;
  assert.equal(posted?.path, '/hook?x=1');
  assert.deepEqual(JSON.parse(posted!.body), JSON.parse(JSON.stringify(MESSAGE)));
  const timestamp = String(AT / 1_000 + 5);
  assert.equal(posted?.headers['kontrol-timestamp'], timestamp);
  const hmac = createHmac('sha256', 'geheim').update(`${timestamp}.${posted?.body}`).digest('hex');
  assert.equal(posted?.headers['kontrol-signature'], `v1=${hmac}`);
  assert.equal(signatureOf('geheim', timestamp, posted!.body), `v1=${hmac}`);
  assert.equal(posted?.headers['kontrol-delivery'], MESSAGE.id);
});

test('without a secret nothing is signed', async (t) => {
  const sink = await HttpSink.start();
  t.after(() => sink.close());
  await postWebhook({ url: sink.url(), secret: null }, MESSAGE, AT, anywhere, never);
  assert.equal(sink.posted[0]?.headers['kontrol-signature'], undefined);
});

test('another status than 2xx is a failure, and no redirect is followed', async (t) => {
  const sink = await HttpSink.start();
  t.after(() => sink.close());
  for (const status of [302, 404, 500]) {
    sink.status = status;
    await assert.rejects(
      postWebhook({ url: sink.url(), secret: null }, MESSAGE, AT, anywhere, never),
      new RegExp(`answered ${status}`),
    );
  }
  assert.equal(sink.posted.length, 3);
});

test('refused addresses are not reached, neither as written nor as what a name stands for', async (t) => {
  const sink = await HttpSink.start();
  t.after(() => sink.close());
  const port = new URL(sink.url()).port;
  const refusal = (address: string) => (address.endsWith(`:${port}`) ? 'this is ours' : null);
  await assert.rejects(
    postWebhook({ url: sink.url(), secret: null }, MESSAGE, AT, refusal, never),
    /may not be reached: this is ours/,
  );
  const byAddress = (address: string) => (/^(127\.|\[::1\])/.test(address) ? 'this is ours' : null);
  await assert.rejects(
    postWebhook({ url: `http://localhost:${port}/`, secret: null }, MESSAGE, AT, byAddress, never),
    /localhost may not be reached/,
  );
  assert.equal(sink.posted.length, 0);
  const found = await new Promise((resolve) =>
    guardedLookup(80, anywhere)('localhost', { all: true }, (error, addresses) =>
      resolve(error ?? addresses),
    ),
  );
  assert.ok(Array.isArray(found));
});

test('an e-mail goes to every recipient, with login, and says what is wrong', async (t) => {
  const sink = await MailSink.start();
  t.after(() => sink.close());
  const server = {
    host: '127.0.0.1',
    port: sink.port,
    security: 'none' as const,
    user: 'kontrol',
    from: 'Kontrol <kontrol@example.com>',
    to: ['ops@example.com', 'boss@example.com'],
  };
  await sendMail(server, 'geheim', MESSAGE, anywhere, never);
  const [mail] = sink.mails;
  assert.match(mail!.from, /kontrol@example\.com/);
  assert.equal(mail?.to.length, 2);
  assert.equal(mail?.login, 'kontrol geheim');
  assert.match(mail!.text, /^Subject: \[kontrol\] service shop has no backend left$/m);
  assert.match(mail!.text, /because/);
  assert.match(mail!.text, new RegExp(`^Message-ID: <${MESSAGE.id}@kontrol>$`, 'm'));
});

test('a mail server that refuses, or has no STARTTLS where it is asked for, is a failure', async (t) => {
  const sink = await MailSink.start();
  t.after(() => sink.close());
  const server = { host: '127.0.0.1', port: sink.port, from: 'a@b.example', to: ['c@d.example'] };
  await assert.rejects(sendMail(server, null, MESSAGE, anywhere, never), /TLS/i);
  sink.refusing = true;
  await assert.rejects(sendMail({ ...server, security: 'none' }, null, MESSAGE, anywhere, never));
  await assert.rejects(
    sendMail({ ...server, security: 'none' }, null, MESSAGE, () => 'this is ours', never),
    /may not be reached/,
  );
  assert.equal(sink.mails.length, 0);
});

test('a mail server that goes on talking, and a receiver that says nothing, are left at the end', async (t) => {
  const sink = await MailSink.start();
  t.after(() => sink.close());
  const end = new AbortController();
  let lines = 0;
  sink.onTalk = () => {
    if (++lines === 50) end.abort();
  };
  const server = { host: '127.0.0.1', port: sink.port, from: 'a@b.example', to: ['c@d.example'] };
  await assert.rejects(
    sendMail({ ...server, security: 'none' }, null, MESSAGE, anywhere, end.signal),
    /did not take it in time/,
  );
  const silent = net.createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => silent.close());
  const leaving = new AbortController();
  silent.once('connection', () => leaving.abort());
  const url = `http://127.0.0.1:${(silent.address() as net.AddressInfo).port}/`;
  await assert.rejects(postWebhook({ url, secret: null }, MESSAGE, AT, anywhere, leaving.signal), /abort/);
});

test('a title cannot bring header fields into an e-mail', async (t) => {
  const sink = await MailSink.start();
  t.after(() => sink.close());
  const server = {
    host: '127.0.0.1',
    port: sink.port,
    security: 'none' as const,
    from: 'a@b.example',
    to: ['c@d.example'],
  };
  const evil = messageOf([notice('x\r\nBcc: evil@example.com\r\n\r\nhello')], AT);
  await sendMail(server, null, evil, anywhere, never);
  assert.doesNotMatch(sink.mails[0]!.text.split('\n\n')[0]!, /^Bcc:/m);
  assert.deepEqual(sink.mails[0]!.to.length, 1);
});

test('subject and text name what began and what is over', () => {
  const message = messageOf([notice('a', { state: 'recovered' }), notice('b')], AT);
  assert.equal(subjectOf(message), '[kontrol] over: a (and 1 more)');
  assert.match(textOf(message), /OVER: a[\s\S]*b\nbecause\nsince 2026-01-01T00:00:00.000Z/);
});

test('a failed attempt is repeated with growing pauses, then given up', async () => {
  const clock = new ManualClock();
  const failures: boolean[] = [];
  const deliveries = new Deliveries(clock, (_channel, _error, last) => failures.push(last));
  const at: number[] = [];
  const began = clock.now();
  let outcome = '';
  void deliveries
    .deliver('x', MESSAGE, async () => {
      at.push((clock.now() - began) / 1_000);
      throw new Error('no');
    })
    .then((said) => {
      outcome = said;
    });
  for (let i = 0; i < 200; i++) {
    await turn();
    clock.advance(1_000);
  }
  assert.deepEqual(at, [0, 2, 10, 35, 95]);
  assert.equal(outcome, 'given up');
  assert.deepEqual(failures, [false, false, false, false, true]);
});

test('what waits is bounded for each receiver, and the end cuts the pauses', async () => {
  const clock = new ManualClock();
  const deliveries = new Deliveries(clock, () => {});
  const failing = async () => {
    throw new Error('no');
  };
  const waiting = Array.from({ length: 60 }, () => deliveries.deliver('x', MESSAGE, failing));
  await turn();
  const other = await deliveries.deliver('y', MESSAGE, async () => {});
  assert.equal(other, 'delivered', 'those that are gone cost another one nothing');
  deliveries.close();
  const outcomes = await Promise.all(waiting);
  assert.equal(outcomes.filter((outcome) => outcome === 'dropped').length, 40);
  assert.equal(outcomes.filter((outcome) => outcome === 'given up').length, 20);
});

test('quiet hours may go over midnight and follow their zone', () => {
  const at = (time: string) => Date.parse(`2026-01-15T${time}:00Z`);
  const night = { from: '22:00', until: '07:00' };
  assert.deepEqual(
    ['21:59', '22:00', '00:00', '06:59', '07:00'].map((time) => isQuiet(night, at(time))),
    [false, true, true, true, false],
  );
  assert.equal(isQuiet({ from: '09:00', until: '10:00' }, at('09:30')), true);
  assert.equal(isQuiet({ ...night, zone: 'Asia/Tokyo' }, at('13:30')), true);
  assert.equal(isQuiet({ ...night, zone: 'Asia/Tokyo' }, at('23:30')), false);
  assert.equal(isQuiet({ from: '09:00', until: '09:00' }, at('09:00')), false);
  assert.equal(isQuiet(null, AT), false);
});
