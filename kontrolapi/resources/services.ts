/** What is special to services: where their backends may be, and keys that are named but not there. */
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
      const problems: FieldProblem[] = [];
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
      return { problems, warnings };
    },
  };
}
