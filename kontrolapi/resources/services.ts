/** What is special to services: where their backends may be, whom they trust, and keys that are named but not there. */
import { X509Certificate } from 'node:crypto';
import { BackendAddresses, controlPorts } from '../../shared/backend-addresses.ts';
import type { FieldProblem } from '../../shared/errors.ts';
import { SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Service } from '../../shared/model/service.ts';
import type { Settings } from '../../shared/model/settings.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { KindRules } from './kind-rules.ts';

export function serviceRules(settings: SettingsOfProcess): KindRules {
  const addresses = new BackendAddresses(controlPorts(settings));
  return {
    check(doc, draft) {
      const service = doc as unknown as Service;
      const global = draft.get('settings', SETTINGS_NAME)?.doc as Settings | undefined;
      const refuse = global?.backendAddresses?.refuse;
      const problems = unreadableAuthority(service);
      const warnings: FieldProblem[] = [];
      for (const [key, { backends }] of Object.entries(service.keys ?? {})) {
        backends?.forEach(({ address }, index) => {
          const refusal = addresses.refusal(address, refuse);
          if (refusal === null) return;
          const message = `${refusal}; settings.backendAddresses says what is refused`;
          problems.push({ path: `keys.${key}.backends.${index}.address`, message });
        });
      }
      const { latest } = service;
      if (typeof latest === 'number' && service.keys?.[String(latest)] === undefined) {
        warnings.push({
          path: 'latest',
          message: `there is no key ${latest} yet; until then "latest" answers 503`,
        });
      }
      const ahead = keyAhead(service);
      if (ahead !== null) {
        const message =
          `it has no backends but those of workers, and "latest" stays with it once they were ready, also when they are gone; ` +
          `for the configured backends remove it (keys.${ahead}=null) or name "latest"`;
        warnings.push({ path: `keys.${ahead}`, message });
      }
      return { problems, warnings };
    },
    /** Keys without backends are those of workers, which made them: no file can know which builds run just now. */
    retain(doc, present) {
      const keys = (doc as unknown as Service).keys ?? {};
      const held = (present?.doc as unknown as Service | undefined)?.keys ?? {};
      const ofWorkers = Object.entries(held).filter(
        ([key, { backends = [] }]) => backends.length === 0 && !Object.hasOwn(keys, key),
      );
      return ofWorkers.length === 0 ? doc : { ...doc, keys: { ...Object.fromEntries(ofWorkers), ...keys } };
    },
  };
}

/** The greatest key, when it is one of workers and stands before configured backends in the eyes of `latest: auto`. */
function keyAhead({ latest = 'auto', keys = {} }: Service): string | null {
  if (latest !== 'auto') return null;
  let configured = false;
  let greatest = '0';
  for (const [key, { enabled, backends = [] }] of Object.entries(keys)) {
    if (enabled === false) continue;
    if (backends.length > 0) configured = true;
    if (Number(key) > Number(greatest)) greatest = key;
  }
  return configured && (keys[greatest]?.backends ?? []).length === 0 ? greatest : null;
}

/** OpenSSL passes over what it cannot read, and then no backend would be trusted. */
function unreadableAuthority({ tls }: Service): FieldProblem[] {
  if (tls?.ca === undefined) return [];
  const path = 'tls.ca';
  const blocks = tls.ca.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  if (blocks === null) return [{ path, message: 'expected PEM: -----BEGIN CERTIFICATE-----' }];
  for (const [index, block] of blocks.entries()) {
    try {
      new X509Certificate(block);
    } catch {
      return [{ path, message: `certificate ${index + 1} cannot be read` }];
    }
  }
  return [];
}
