/**
 * Alerts: looks every few seconds at what is wrong, and tells whoever `settings.alerts` names, once for each change.
 * Several kontrolapi share the work through the board. Without anybody to tell nothing is done at all.
 */
import { randomBytes } from 'node:crypto';
import { BackendAddresses, controlPorts } from '../../shared/backend-addresses.ts';
import { type Alerts, alertSecret } from '../../shared/model/alerts.ts';
import { SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Settings } from '../../shared/model/settings.ts';
import { open, SEALED_FIELD } from '../../shared/secrets.ts';
import type { ApiContext } from '../context.ts';
import { Board, type Notice } from './board.ts';
import { conditionsOf } from './conditions.ts';
import { type Attempt, Deliveries } from './delivery.ts';
import { geoDataAt } from './geo-data.ts';
import { sendMail } from './mail.ts';
import { type Message, messageOf } from './message.ts';
import { isQuiet } from './quiet.ts';
import type { Refusal } from './targets.ts';
import { postWebhook } from './webhook.ts';

const LOOK_MS = 5_000;
const GROUP_MS = 30_000;
/** An attempt takes at most this long, in ms; five of them and their pauses stay below what `Board` takes for dead. */
const ATTEMPT_MS = 30_000;

/** One who is told. */
interface Channel {
  /** For people: without the path of a webhook, which may be a secret. */
  readonly name: string;
  readonly attempt: Attempt;
}

export interface Tested {
  readonly channel: string;
  readonly ok: boolean;
  /** What went wrong; null when it was delivered. */
  readonly error: string | null;
}

type Needs = Pick<ApiContext, 'settings' | 'log' | 'clock' | 'store' | 'present' | 'nodes'>;

export class AlertService {
  readonly #context: Needs;
  readonly #board: Board;
  readonly #deliveries: Deliveries;
  readonly #addresses: BackendAddresses;
  #cancel: (() => void) | null = null;
  #looking: Promise<void> | null = null;
  readonly #telling = new Set<Promise<void>>();
  /** Ends what is being sent when this process ends: a receiver that hangs does not keep it. */
  readonly #leaving = new AbortController();
  #closed = false;

  constructor(context: Needs) {
    this.#context = context;
    const { store, clock, log, settings } = context;
    this.#board = new Board(store.live, clock, randomBytes(8).toString('hex'));
    this.#deliveries = new Deliveries(clock, (channel, error, last) => {
      const text = last ? 'an alert could not be delivered and is given up' : 'an alert is tried again';
      log.warn('alert_undelivered', text, { channel, reason: error.message });
    });
    this.#addresses = new BackendAddresses(controlPorts(settings));
  }

  start(): void {
    this.#again();
  }

  /** Sends a test to everyone, once, without waiting for hours or groups. */
  async test(): Promise<Tested[]> {
    const { clock, present } = this.#context;
    const state = await present.fresh(clock);
    const now = clock.now();
    const notice: Notice = {
      key: 'test',
      state: 'raised',
      urgent: false,
      title: 'this is a test',
      detail: 'somebody asked for it with POST /v1/alerts/test; nothing is wrong',
      since: now,
    };
    const message = messageOf([notice], now, true);
    const settings = state.get('settings', SETTINGS_NAME)?.doc as Settings | undefined;
    return Promise.all(
      this.#channels(settings).map(async ({ name, attempt }) => {
        try {
          await attempt(message);
          return { channel: name, ok: true, error: null };
        } catch (error) {
          return { channel: name, ok: false, error: (error as Error).message };
        }
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    this.#deliveries.close();
    this.#leaving.abort();
    await this.#looking;
    await Promise.all(this.#telling);
  }

  #again(): void {
    if (this.#closed) return;
    this.#cancel = this.#context.clock.after(LOOK_MS, () => {
      this.#looking = this.#look()
        .catch(() => {
          // The store being away is said by whoever follows it.
        })
        .finally(() => this.#again());
    });
  }

  async #look(): Promise<void> {
    const { present, nodes, clock } = this.#context;
    if (!present.loaded) return;
    const view = present.state;
    const settings = view.get('settings', SETTINGS_NAME)?.doc as Settings | undefined;
    const channels = this.#channels(settings);
    const alerts = settings?.alerts;
    if (channels.length === 0 || alerts === undefined) return;
    const now = clock.now();
    const conditions = conditionsOf({
      nodes: await nodes.list(),
      alarms: nodes.alarms,
      view,
      seq: present.seq,
      now,
      geoDataAt: geoDataAt(),
    });
    const notices = await this.#board.cycle(conditions, {
      groupMs: alerts.group ?? GROUP_MS,
      quiet: isQuiet(alerts.quiet, now),
    });
    if (notices.length === 0) return;
    const telling = this.#tell(notices, channels).finally(() => this.#telling.delete(telling));
    this.#telling.add(telling);
  }

  async #tell(notices: readonly Notice[], channels: readonly Channel[]): Promise<void> {
    const message = messageOf(notices, this.#context.clock.now());
    const outcomes = await Promise.all(
      channels.map(({ name, attempt }) => this.#deliveries.deliver(name, message, attempt)),
    );
    // Cut short by the end of this process and heard by nobody: another one tells it, or the next.
    if (this.#closed && !outcomes.includes('delivered')) return;
    await this.#board.told(notices);
  }

  #channels(settings: Settings | undefined): Channel[] {
    const alerts = settings?.alerts;
    if (alerts === undefined) return [];
    const refusal: Refusal = (address) =>
      this.#addresses.refusal(address, settings?.backendAddresses?.refuse);
    const channels = (alerts.webhooks ?? []).map(({ url, secretRef }): Channel => {
      return {
        name: `webhook ${new URL(url).host}`,
        attempt: async (message: Message) => {
          const secret = await this.#secret(secretRef);
          await postWebhook({ url, secret }, message, this.#context.clock.now(), refusal, this.#end());
        },
      };
    });
    const { smtp } = alerts;
    return smtp ? [...channels, this.#mail(smtp, refusal)] : channels;
  }

  #mail(smtp: NonNullable<Alerts['smtp']>, refusal: Refusal): Channel {
    return {
      name: `mail server ${smtp.host}`,
      attempt: async (message) => {
        await sendMail(smtp, await this.#secret(smtp.passwordRef), message, refusal, this.#end());
      },
    };
  }

  #end(): AbortSignal {
    return AbortSignal.any([this.#leaving.signal, AbortSignal.timeout(ATTEMPT_MS)]);
  }

  /** Null when there is none. Rejects when it is there and cannot be read: nothing is sent unsigned by mistake. */
  async #secret(ref: string | undefined): Promise<string | null> {
    if (ref === undefined) return null;
    const { store, settings } = this.#context;
    const sealed = (await store.live.get('secrets', alertSecret(ref)))?.[SEALED_FIELD];
    if (typeof sealed !== 'string') throw new Error('its secret is gone; send it again with the settings');
    return open(sealed, settings.secret);
  }
}
