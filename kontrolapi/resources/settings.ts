/**
 * What is special to the object `settings`: global whitelists that nobody can pass, and alerts, whose secrets go into
 * the collection `secrets` and are never read back, and whose addresses must be allowed to be reached.
 */
import { randomBytes } from 'node:crypto';
import { BackendAddresses, controlPorts } from '../../shared/backend-addresses.ts';
import { type FieldProblem, KontrolError } from '../../shared/errors.ts';
import { type Alerts, alertSecret } from '../../shared/model/alerts.ts';
import { problemsOf } from '../../shared/model/kinds.ts';
import { type Settings, settingsInputSchema } from '../../shared/model/settings.ts';
import { open, SEALED_FIELD, seal } from '../../shared/secrets.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import { endpointOfUrl, mailPort } from '../alerts/targets.ts';
import type { Held } from '../revisions/view.ts';
import type { KindRules } from './kind-rules.ts';
import { Whitelists } from './whitelists.ts';

export function settingsRules(live: LiveStore, settings: SettingsOfProcess): KindRules {
  const addresses = new BackendAddresses(controlPorts(settings));
  return {
    inputSchema: settingsInputSchema,
    async prepare(input, present, keep) {
      const parsed = settingsInputSchema.safeParse(input);
      if (!parsed.success)
        throw new KontrolError('invalid', undefined, problemsOf(parsed.error, settingsInputSchema));
      const { alerts } = parsed.data;
      if (alerts === undefined) return input;
      const keeper = new SecretKeeper(live, settings.secret, keep, referencesOf(present));
      const { smtp, webhooks, ...rest } = alerts;
      const stored: Record<string, unknown> = { ...rest };
      if (smtp !== undefined && smtp !== null) {
        const { password, passwordRef, ...server } = smtp;
        const purpose = `smtp ${server.host.toLowerCase()}`;
        const ref = await keeper.reference(password, passwordRef, purpose, 'alerts.smtp.password');
        stored['smtp'] = ref === null ? server : { ...server, passwordRef: ref };
      } else if (smtp === null) stored['smtp'] = null;
      if (webhooks !== undefined) {
        const kept: unknown[] = [];
        for (const [index, { secret, secretRef, ...hook }] of webhooks.entries()) {
          const ref = await keeper.reference(secret, secretRef, 'webhook', `alerts.webhooks.${index}.secret`);
          kept.push(ref === null ? hook : { ...hook, secretRef: ref });
        }
        stored['webhooks'] = kept;
      }
      return { ...input, alerts: stored };
    },
    check(doc, draft) {
      const given = doc as Settings;
      const message = Whitelists.of(draft).contradiction(given.firewall ?? []);
      const warnings: FieldProblem[] = message === null ? [] : [{ path: 'firewall', message }];
      const { alerts } = given;
      if (alerts === undefined) return { warnings };
      if (settings.secret === null && secretsOf(alerts).length > 0) {
        warnings.push({
          path: 'alerts',
          message: 'KONTROL_SECRET is not set: the secrets of alerts are stored unencrypted',
        });
      }
      const refuse = given.backendAddresses?.refuse;
      return { problems: refusedTargets(alerts, (at) => addresses.refusal(at, refuse)), warnings };
    },
  };
}

/** Beside a sealed secret: what it may be used for. A password would else go to whatever server is named with it. */
const PURPOSE_FIELD = 'purpose';

/** Keeps secrets under random names: a digest would tell who can guess a password that the guess is right. */
class SecretKeeper {
  readonly #live: LiveStore;
  readonly #secret: string | null;
  readonly #keep: boolean;
  readonly #known: readonly string[];

  constructor(live: LiveStore, secret: string | null, keep: boolean, known: readonly string[]) {
    this.#live = live;
    this.#secret = secret;
    this.#keep = keep;
    this.#known = known;
  }

  /** The name to store for what was given; null for none. */
  async reference(
    given: string | undefined,
    ref: string | undefined,
    purpose: string,
    path: string,
  ): Promise<string | null> {
    if (given === undefined) {
      if (ref === undefined) return null;
      if ((await this.#read(ref, purpose)) !== null) return ref;
      const message =
        'the secret that was stored is gone, is for another server, or cannot be opened; send it again';
      throw new KontrolError('invalid', undefined, [{ path, message }]);
    }
    // The same secret sent again changes nothing, or applying a file twice would.
    for (const known of this.#known) if ((await this.#read(known, purpose)) === given) return known;
    const fresh = randomBytes(16).toString('hex');
    if (this.#keep)
      await this.#live.put('secrets', alertSecret(fresh), {
        [SEALED_FIELD]: seal(given, this.#secret),
        [PURPOSE_FIELD]: purpose,
      });
    return fresh;
  }

  async #read(ref: string, purpose: string): Promise<string | null> {
    const kept = await this.#live.get('secrets', alertSecret(ref));
    const sealed = kept?.[SEALED_FIELD];
    if (typeof sealed !== 'string') return null;
    // Those of before have none.
    if ((kept?.[PURPOSE_FIELD] ?? purpose) !== purpose) return null;
    try {
      return open(sealed, this.#secret);
    } catch {
      return null;
    }
  }
}

function referencesOf(present: Held | undefined): readonly string[] {
  const alerts = (present?.doc as Settings | undefined)?.alerts;
  return alerts === undefined ? [] : secretsOf(alerts);
}

function secretsOf({ smtp, webhooks }: Alerts): string[] {
  const refs = [smtp?.passwordRef, ...(webhooks ?? []).map(({ secretRef }) => secretRef)];
  return refs.filter((ref) => ref !== undefined);
}

function refusedTargets(alerts: Alerts, refusal: (address: string) => string | null): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const look = (path: string, address: string) => {
    const why = refusal(address);
    if (why !== null)
      problems.push({ path, message: `${why}; settings.backendAddresses says what is refused` });
  };
  alerts.webhooks?.forEach(({ url }, index) => {
    look(`alerts.webhooks.${index}.url`, endpointOfUrl(new URL(url)));
  });
  const { smtp } = alerts;
  if (smtp) look('alerts.smtp.host', `${hostText(smtp.host)}:${mailPort(smtp)}`);
  return problems;
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
