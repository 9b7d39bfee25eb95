/**
 * What of a domain or route depends on the rest of the table (brand, rules, service), worked out when it is first
 * asked for and kept until something of it changes. With it most decisions are one object made long before.
 */
import type { CauseCode } from '../causes.ts';
import type { ResolvedLimits } from '../model/settings.ts';
import type { CompiledDomain, CompiledRoute, DomainView, RouteView } from './compile-domain.ts';
import type {
  CompiledService,
  Decision,
  DecisionLabels,
  FieldChanges,
  Forward,
  PageDecision,
} from './decision.ts';
import type { CompiledRule, RuleReference } from './firewall.ts';
import { DEFAULT_RETRY_AFTER } from './maintenance.ts';
import type { ServicePlace } from './service-table.ts';

/** The parts of a table that views are made from. */
export interface ViewSource {
  /** Changes whenever a rule, the settings, or the loadability of a service change. */
  readonly epoch: number;
  readonly defaultBrand: string | null;
  limits(): ResolvedLimits;
  rule(name: string): CompiledRule | null;
  /** Where a service stands; undefined when there is none of that name. */
  placeOf(name: string): ServicePlace | undefined;
  /** True when the service exists but could not be loaded. */
  serviceBroken(name: string): boolean;
}

const NO_RULES: readonly RuleReference[] = [];

export function references(source: ViewSource, names: readonly string[]): readonly RuleReference[] {
  return names.length === 0 ? NO_RULES : names.map((name) => ({ name, rule: source.rule(name) }));
}

export function domainView(source: ViewSource, domain: CompiledDomain): DomainView {
  const view = domain.view;
  if (view !== null && view.epoch === source.epoch) return view;
  domain.view = {
    epoch: source.epoch,
    labels: {
      domain: domain.name,
      route: null,
      service: null,
      pages: domain.pages ?? source.defaultBrand,
      rule: null,
    },
    rules: references(source, domain.firewall),
  };
  return domain.view;
}

/** Where routes stand that lead to no service. */
const NOWHERE: ServicePlace = { compiled: undefined };

export function routeView(source: ViewSource, domain: CompiledDomain, route: CompiledRoute): RouteView {
  const { view } = route;
  // The place is asked and not the table by the service's name: that would be a look-up more for every request.
  if (view !== null && view.epoch === source.epoch && view.place !== null) {
    if (view.place.compiled === view.service) return view;
  }
  return renewedView(source, domain, route);
}

function renewedView(source: ViewSource, domain: CompiledDomain, route: CompiledRoute): RouteView {
  const { target, view } = route;
  const place = target.type === 'service' ? source.placeOf(target.service) : NOWHERE;
  const service = place?.compiled;
  if (view !== null && view.epoch === source.epoch && view.service === service) return view;
  const labels: DecisionLabels = {
    domain: domain.name,
    route: route.index,
    service: target.type === 'service' ? target.service : null,
    pages: domain.pages ?? source.defaultBrand,
    rule: null,
  };
  const plain = decisionOf(source, domain, route, service, labels, route.response);
  route.view = {
    epoch: source.epoch,
    // A place without a service may be given up for another one.
    place: target.type === 'service' && service === undefined ? null : (place ?? null),
    service,
    rules: references(source, route.firewall),
    plain,
    secure:
      route.responseSecure === route.response
        ? plain
        : decisionOf(source, domain, route, service, labels, route.responseSecure),
    labels,
  };
  return route.view;
}

function decisionOf(
  source: ViewSource,
  domain: CompiledDomain,
  route: CompiledRoute,
  service: CompiledService | undefined,
  labels: DecisionLabels,
  response: FieldChanges | null,
): Decision {
  const { target } = route;
  switch (target.type) {
    case 'redirect':
      return { type: 'redirect', labels, response, status: target.status, location: target.to };
    case 'answer':
      return { type: 'answer', labels, response, ...target.answer };
    case 'maintenance':
      return page('maintenance', labels, response);
    case 'service': {
      if (service === undefined) {
        return page(
          source.serviceBroken(target.service) ? 'quarantined' : 'service_missing',
          labels,
          response,
        );
      }
      const chosen = chooseKey(service, target.key);
      if (typeof chosen === 'string') return page(chosen, labels, response);
      return {
        type: 'forward',
        labels,
        response,
        service,
        key: chosen,
        path: null,
        request: route.request,
        ...(domain.clientAuthority === null ? {} : { identified: true }),
        limits: lowered(domain.limits, source.limits()),
      };
    }
  }
}

/** A domain may lower limits of the settings, not raise them; null when it lowers none. 0 stands for no limit. */
function lowered(own: CompiledDomain['limits'], all: ResolvedLimits): Forward['limits'] {
  const body = lower(own?.body, all.body);
  const bodyIdleMs = lower(own?.bodyIdle, all.bodyIdleMs);
  // This one is a least, not a most: 0 asks for nothing and is the lowest.
  const rate = own?.bodyRate;
  const bodyRate = rate !== undefined && (all.bodyRate === 0 || rate < all.bodyRate) ? rate : undefined;
  if (body === undefined && bodyIdleMs === undefined && bodyRate === undefined) return null;
  return {
    ...(body === undefined ? {} : { body }),
    ...(bodyIdleMs === undefined ? {} : { bodyIdleMs }),
    ...(bodyRate === undefined ? {} : { bodyRate }),
  };
}

function lower(own: number | undefined, all: number): number | undefined {
  return own !== undefined && own !== 0 && (all === 0 || own < all) ? own : undefined;
}

/** The key that a route or listener wants of a service, or why it cannot have it. */
export function chooseKey(service: CompiledService, wanted: 'latest' | number) {
  if (!service.config.enabled) return 'service_disabled' as const;
  const number = wanted === 'latest' ? service.latest : wanted;
  if (number === null) return 'no_backend' as const;
  const key = service.keys.get(number);
  if (key === undefined) return number < service.greatest ? ('key_gone' as const) : ('key_future' as const);
  return key.enabled ? key : ('key_disabled' as const);
}

/** Causes of a 503 after which it is worth coming back; the others do not pass by themselves. */
const TEMPORARY: ReadonlySet<CauseCode> = new Set([
  'maintenance',
  'service_missing',
  'key_future',
  'no_backend',
  'quarantined',
  'rule_unloadable',
]);

export function page(
  cause: CauseCode,
  labels: DecisionLabels,
  response: FieldChanges | null,
  retryAfter: number | null = TEMPORARY.has(cause) ? DEFAULT_RETRY_AFTER : null,
): PageDecision {
  return { type: 'page', labels, response, cause, retryAfter };
}
