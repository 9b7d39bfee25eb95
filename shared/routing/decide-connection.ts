/** Decides about a connection of a TCP listener as `decide` does about a request: rules, then the service. */
import type { CauseCode } from '../causes.ts';
import type { CompiledKey, CompiledService, DecisionLabels } from './decision.ts';
import { evaluate, type FirewallSubject, type RuleReference } from './firewall.ts';
import type { Table } from './table.ts';
import { chooseKey, references } from './view.ts';

/** What a decision about a connection may depend on. */
export interface ConnectionView {
  /** Name of the listener object. */
  readonly listener: string;
  /** Canonical text of the one client address. */
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Host of the ClientHello where the listener passes TLS through: lower case; null when there was none. */
  readonly serverName: string | null;
}

export type ConnectionDecision =
  | {
      readonly type: 'forward';
      readonly service: CompiledService;
      readonly key: CompiledKey;
      readonly labels: DecisionLabels;
    }
  /** Close it; nothing is sent. */
  | { readonly type: 'refuse'; readonly cause: CauseCode; readonly labels: DecisionLabels };

export type ConnectionRefusal = Extract<ConnectionDecision, { readonly type: 'refuse' }>;

/** Global rules, then the listener's, then the service by name of the host or of the listener, at its latest key. */
export function decideConnection(table: Table, connection: ConnectionView): ConnectionDecision {
  return refuseConnection(table, connection) ?? routeConnection(table, connection);
}

/** The rules alone: they need no name, so who may not enter is not listened to. Null for who may. */
export function refuseConnection(
  table: Table,
  connection: Omit<ConnectionView, 'serverName'>,
): ConnectionRefusal | null {
  const listener = table.listener(connection.listener);
  if (listener === undefined) return refuse('host_unknown', null);
  const refusal =
    askRules(table, connection, table.globalRules) ??
    askRules(table, connection, references(table, listener.doc.firewall ?? []));
  return refusal === null ? null : refuse(refusal.cause, null, refusal.rule);
}

/** Where a connection goes that the rules let in. */
export function routeConnection(
  table: Table,
  connection: Pick<ConnectionView, 'listener' | 'serverName'>,
): ConnectionDecision {
  const listener = table.listener(connection.listener);
  if (listener === undefined) return refuse('host_unknown', null);
  const name = listener.hosts?.find(connection.serverName ?? '') ?? listener.doc.service;
  if (name === undefined) return refuse('host_unknown', null);
  const service = table.service(name);
  if (service === undefined)
    return refuse(table.serviceBroken(name) ? 'quarantined' : 'service_missing', name);
  const key = chooseKey(service, 'latest');
  return typeof key === 'string'
    ? refuse(key, name)
    : { type: 'forward', service, key, labels: labelsOf(name, null) };
}

function askRules(
  table: Table,
  connection: Omit<ConnectionView, 'serverName'>,
  rules: readonly RuleReference[],
) {
  const subject: FirewallSubject = {
    address: connection.address,
    now: connection.now,
    // There is no page to show on a bare connection.
    confirmed: () => true,
  };
  return rules.length === 0 ? null : evaluate(rules, subject, null, table.onDryRun);
}

function refuse(cause: CauseCode, service: string | null, rule: string | null = null): ConnectionRefusal {
  return { type: 'refuse', cause, labels: labelsOf(service, rule) };
}

function labelsOf(service: string | null, rule: string | null): DecisionLabels {
  return { domain: null, route: null, service, pages: null, rule };
}
