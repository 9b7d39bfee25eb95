/** The register of what is special to each kind. */

import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { LiveStore } from '../../shared/store/contract.ts';
import { certificateRules } from './certificates.ts';
import { domainRules } from './domains.ts';
import type { KindRules } from './kind-rules.ts';
import { listenerRules } from './listeners.ts';
import { ruleRules } from './rules.ts';
import { serviceRules } from './services.ts';
import { settingsRules } from './settings.ts';

export interface SpecialNeeds {
  readonly live: LiveStore;
  readonly settings: SettingsOfProcess;
  readonly clock: Clock;
}

export function rulesOfKinds(needs: SpecialNeeds): (kind: Kind) => KindRules {
  const rules: Record<Kind, KindRules> = {
    rule: ruleRules(needs.clock),
    page: {},
    certificate: certificateRules(needs.live, needs.settings.secret, needs.clock),
    service: serviceRules(needs.settings),
    listener: listenerRules(needs.settings),
    domain: domainRules(),
    settings: settingsRules(needs.live, needs.settings),
  };
  return (kind) => rules[kind];
}
