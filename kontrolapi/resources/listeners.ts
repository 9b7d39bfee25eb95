/** What is special to TCP listeners: one port has one listener, none of our own, and somewhere to go. */
import { reservedPort } from '../../shared/backend-addresses.ts';
import type { FieldProblem } from '../../shared/errors.ts';
import type { Listener } from '../../shared/model/listener.ts';
import type { Rule } from '../../shared/model/rule.ts';
import type { Service } from '../../shared/model/service.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { View } from '../revisions/view.ts';
import type { KindRules } from './kind-rules.ts';

const ANY_ADDRESS = new Set(['', '0.0.0.0', '::', '[::]']);

export function listenerRules(settings: SettingsOfProcess): KindRules {
  return {
    check(doc, draft, name) {
      const listener = doc as unknown as Listener;
      const problems: FieldProblem[] = [];
      const hosts = Object.keys(listener.hosts ?? {});
      if (listener.service === undefined && hosts.length === 0) {
        problems.push({
          path: 'service',
          message: 'a listener needs a service (or hosts with tls passthrough)',
        });
      }
      if (hosts.length > 0 && listener.tls !== 'passthrough') {
        problems.push({ path: 'hosts', message: 'hosts are told apart by TLS only: set tls to passthrough' });
      }
      const reserved = reservedPort(settings, listener);
      if (reserved !== null) problems.push({ path: 'port', message: `${reserved}; take another one` });
      problems.push(...sealedHeader(listener, draft));
      const other = sharesPort(listener, name, draft);
      if (other !== null) {
        problems.push({ path: 'port', message: `listener ${other} has port ${listener.port} already` });
      }
      problems.push(...rateRules(listener, draft));
      return { problems, warnings: [...uselessRules(listener, draft), ...visitorsPort(listener, settings)] };
    },
  };
}

/** Nodes may have others than this process was told: where one has it, its listener stays closed. */
function visitorsPort({ port }: Listener, { http, https }: SettingsOfProcess): FieldProblem[] {
  if (![...http, ...https].some((own) => own.port === port)) return [];
  const message = `nodes take visitors of --http or --https on port ${port}; there the listener stays closed`;
  return [{ path: 'port', message }];
}

/** The header would stand inside the TLS that we speak to the backend, where none looks for it. */
function sealedHeader(listener: Listener, draft: View): FieldProblem[] {
  if (!listener.proxyProtocol?.out) return [];
  const services = new Set([...Object.values(listener.hosts ?? {}), listener.service ?? '']);
  return [...services].flatMap((name) => {
    const service = draft.get('service', name)?.doc as unknown as Service | undefined;
    if (service?.protocol !== 'https') return [];
    const message = `service ${name} is reached over TLS, before which no PROXY header is sent: make it protocol tcp`;
    return [{ path: 'proxyProtocol.out', message }];
  });
}

function sharesPort(listener: Listener, name: string, draft: View): string | null {
  for (const [otherName, other] of portsOf(draft).get(listener.port) ?? []) {
    if (otherName === name) continue;
    const [a, b] = [listener.address ?? '', other.address ?? ''];
    if (a === b || ANY_ADDRESS.has(a) || ANY_ADDRESS.has(b)) return otherName;
  }
  return null;
}

type Ports = ReadonlyMap<number, readonly (readonly [name: string, listener: Listener])[]>;

/** By draft, which is never changed: the listeners of a list are each compared with those of their port only. */
const PORTS = new WeakMap<View, Ports>();

function portsOf(draft: View): Ports {
  const known = PORTS.get(draft);
  if (known !== undefined) return known;
  const ports = new Map<number, [string, Listener][]>();
  for (const [name, { doc }] of draft.entries('listener')) {
    const listener = doc as unknown as Listener;
    const others = ports.get(listener.port);
    if (others === undefined) ports.set(listener.port, [[name, listener]]);
    else others.push([name, listener]);
  }
  PORTS.set(draft, ports);
  return ports;
}

/** A connection is no request: whoever wants one limited must not believe that this does it. */
function rateRules(listener: Listener, draft: View): FieldProblem[] {
  return (listener.firewall ?? []).flatMap((name, index) => {
    const rule = draft.get('rule', name)?.doc as unknown as Rule | undefined;
    if (rule?.type !== 'rate') return [];
    const message = `rule ${name} counts requests, which a TCP listener has none of; use limits.connectionsPerAddress`;
    return [{ path: `firewall.${index}`, message }];
  });
}

function uselessRules(listener: Listener, draft: View): FieldProblem[] {
  return (listener.firewall ?? []).flatMap((name, index) => {
    const rule = draft.get('rule', name)?.doc as unknown as Rule | undefined;
    if (rule === undefined || rule.list !== 'securepage') return [];
    return [
      { path: `firewall.${index}`, message: `rule ${name} speaks HTTP and has no effect on a TCP listener` },
    ];
  });
}
