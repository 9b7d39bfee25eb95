/** For tests and benches: requests and tables in few words. */
import type { Decision, RequestView } from './decision.ts';
import type { TableEntry } from './entry.ts';
import type { Recorder } from './recorder.ts';
import { Table, type TableOptions } from './table.ts';

/** 2026-01-01T00:00:00Z. */
export const NOW = 1_767_225_600_000;

export interface RequestGiven extends Partial<Omit<RequestView, 'header'>> {
  readonly headers?: Readonly<Record<string, string>>;
}

/** `GET http://shop.example.com/` from 203.0.113.7, but for what is given. */
export function request(rawPath = '/', given: RequestGiven = {}): RequestView {
  const { headers = {}, ...fields } = given;
  return {
    secure: false,
    host: 'shop.example.com',
    port: 80,
    method: 'GET',
    rawPath,
    query: '',
    address: '203.0.113.7',
    websocket: false,
    now: NOW,
    header: (name) => headers[name],
    ...fields,
  };
}

type Doc = Readonly<Record<string, unknown>>;

export const domainEntry = (name: string, doc: Doc): TableEntry => ({
  kind: 'domain',
  name,
  doc: { name, ...doc },
});
export const serviceEntry = (name: string, doc: Doc = { keys: { '1': {} } }): TableEntry => ({
  kind: 'service',
  name,
  doc: { name, ...doc },
});
export const ruleEntry = (name: string, doc: Doc): TableEntry => ({
  kind: 'rule',
  name,
  doc: { name, ...doc },
});
export const settingsEntry = (doc: Doc): TableEntry => ({ kind: 'settings', name: 'settings', doc });
export const secretEntry = (name: string, value: string): TableEntry => ({
  kind: 'secret',
  name,
  doc: { value },
});

/** A table of these entries; throws when one is rejected. */
export function tableOf(entries: readonly TableEntry[], options: TableOptions = {}): Table {
  const table = new Table(options);
  const { rejected } = table.apply(entries);
  if (rejected.length > 0) throw new Error(JSON.stringify(rejected));
  return table;
}

/** What a decision came to, in one line. */
export function summary(decision: Decision): string {
  switch (decision.type) {
    case 'forward':
      return `forward ${decision.service.name}/${decision.key.key}${decision.path === null ? '' : ` ${decision.path}`}`;
    case 'page':
      return `page ${decision.cause}`;
    case 'redirect':
      return `redirect ${decision.status} ${decision.location}`;
    case 'answer':
      return `answer ${decision.status} ${decision.body}`;
  }
}

/** A recorder that keeps one line per call. */
export function linesRecorder(): Recorder & { readonly lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    stage: (stage) => lines.push(`[${stage}]`),
    candidate: (name, won, reason) => lines.push(`${won ? '+' : '-'} ${name}: ${reason}`),
    note: (text) => lines.push(text),
    rule: (name, outcome, dryRun, reason) =>
      lines.push(`rule ${name} ${outcome}${dryRun ? ' (dry run)' : ''}: ${reason}`),
  };
}

/** The certificate of an authority for clients; good for a hundred years. */
export const AUTHORITY = `-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUH0Xn20fauhWsycrW9UnoCqYm/DAwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdC1hdXRob3JpdHkwIBcNMjYxMTIxMTIzNzMxWhgPMjEy
NjEwMjgxMjM3MzFaMBkxFzAVBgNVBAMMDnRlc3QtYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEXOyK8ItDilx7r7Vrew4GuEqfxeQDD/2PjWXCEdoZ
4XPGALSs7LMdFV5A8NEdvxw99noGo378eIVYIbO0mwxOBqNTMFEwHQYDVR0OBBYE
FKRUu4kOaEGWDzYw0zKDtXNy9sBBMB8GA1UdIwQYMBaAFKRUu4kOaEGWDzYw0zKD
tXNy9sBBMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhANtpy00P
8NQT74gyyu7vUIM2fzNpcLn+LXVNPLN7CquyAiBZboFR2Tpq7ZPpXcw4195eQyz3
rNBMkmOMwC1EiXIRig==
-----END CERTIFICATE-----
`;
