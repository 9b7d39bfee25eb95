/** What is special to the object `settings`: global whitelists that nobody can pass. */
import type { Settings } from '../../shared/model/settings.ts';
import type { KindRules } from './kind-rules.ts';
import { Whitelists } from './whitelists.ts';

export function settingsRules(): KindRules {
  return {
    check(doc, draft) {
      const message = new Whitelists(draft).contradiction((doc as Settings).firewall ?? []);
      return { warnings: message === null ? [] : [{ path: 'firewall', message }] };
    },
  };
}
