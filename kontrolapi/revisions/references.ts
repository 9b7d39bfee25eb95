/** Which objects an object names, and where in its document. */
import type { Kind } from '../../shared/model/kinds.ts';

export interface Reference {
  readonly kind: Kind;
  readonly name: string;
  /** Dotted path of the field that names it. */
  readonly path: string;
  /** True when the named object may come later: saving without it is a warning, not a refusal. */
  readonly mayBeMissing: boolean;
}

/** An object that names another one, and where. */
export interface Referrer {
  readonly kind: Kind;
  readonly name: string;
  readonly path: string;
}

interface Naming {
  readonly service?: unknown;
  readonly firewall?: unknown;
  readonly pages?: unknown;
  readonly routes?: unknown;
  readonly hosts?: unknown;
  readonly tls?: unknown;
}

/**
 * References of a document. Tolerates any shape: documents of a newer version or edited by hand are indexed too.
 */
export function referencesOf(kind: Kind, doc: Readonly<Record<string, unknown>>): Reference[] {
  const found: Reference[] = [];
  const at = doc as Naming;
  if (kind === 'domain' || kind === 'listener' || kind === 'settings') {
    collectFirewall(at.firewall, 'firewall', found);
    if (typeof at.pages === 'string') found.push(firm('page', at.pages, 'pages'));
  }
  if (kind === 'domain' && Array.isArray(at.routes)) {
    at.routes.forEach((route: Naming | null, index) => {
      if (typeof route !== 'object' || route === null) return;
      if (typeof route.service === 'string') found.push(service(route.service, `routes.${index}.service`));
      collectFirewall(route.firewall, `routes.${index}.firewall`, found);
    });
  }
  if (kind === 'listener') {
    if (typeof at.service === 'string') found.push(service(at.service, 'service'));
    if (typeof at.hosts === 'object' && at.hosts !== null) {
      for (const [host, name] of Object.entries(at.hosts)) {
        if (typeof name === 'string') found.push(service(name, `hosts.${host}`));
      }
    }
  }
  if (kind === 'service') {
    const certificate = (at.tls as { certificate?: unknown } | undefined)?.certificate;
    if (typeof certificate === 'string') found.push(firm('certificate', certificate, 'tls.certificate'));
  }
  return found;
}

function collectFirewall(list: unknown, path: string, found: Reference[]): void {
  if (!Array.isArray(list)) return;
  list.forEach((name, index) => {
    if (typeof name === 'string') found.push(firm('rule', name, `${path}.${index}`));
  });
}

function firm(kind: Kind, name: string, path: string): Reference {
  return { kind, name, path, mayBeMissing: false };
}

function service(name: string, path: string): Reference {
  return { kind: 'service', name, path, mayBeMissing: true };
}
