/** What is special to domains: routes to keys that are not there, and firewalls that nobody can pass. */
import type { FieldProblem } from '../../shared/errors.ts';
import type { Domain } from '../../shared/model/domain.ts';
import { SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Service } from '../../shared/model/service.ts';
import { compileClientAuthority } from '../../shared/routing/client-authority.ts';
import type { View } from '../revisions/view.ts';
import type { KindRules } from './kind-rules.ts';
import { Whitelists } from './whitelists.ts';

export function domainRules(): KindRules {
  return {
    check(doc, draft) {
      const domain = doc as unknown as Domain;
      const warnings = [...missingKeys(domain, draft), ...impassable(domain, draft)];
      return { problems: unusableAuthority(domain), warnings };
    },
  };
}

function unusableAuthority(domain: Domain): FieldProblem[] {
  if (!domain.clientCertificates) return [];
  try {
    compileClientAuthority(domain.clientCertificates.ca);
    return [];
  } catch (error) {
    return [{ path: 'clientCertificates.ca', message: (error as Error).message }];
  }
}

function missingKeys(domain: Domain, draft: View): FieldProblem[] {
  return (domain.routes ?? []).flatMap(({ service, key }, index) => {
    if (service === undefined || typeof key !== 'number') return [];
    const held = draft.get('service', service)?.doc as Service | undefined;
    if (held === undefined || held.keys?.[String(key)] !== undefined) return [];
    const message = `service ${service} has no key ${key} (yet); a worker may bring it`;
    return [{ path: `routes.${index}.key`, message }];
  });
}

function impassable(domain: Domain, draft: View): FieldProblem[] {
  const global = draft.get('settings', SETTINGS_NAME)?.doc.firewall;
  const own: string[] = [...(Array.isArray(global) ? global : []), ...(domain.firewall ?? [])];
  const whitelists = Whitelists.of(draft);
  const whole = whitelists.contradiction(own);
  if (whole !== null) return [{ path: 'firewall', message: whole }];
  return (domain.routes ?? []).flatMap((route, index) => {
    if (route.firewall === undefined) return [];
    const message = whitelists.contradiction([...own, ...route.firewall]);
    return message === null ? [] : [{ path: `routes.${index}.firewall`, message }];
  });
}
