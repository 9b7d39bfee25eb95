/** What `kontrol up` prints when both parts answer: where everything listens, how to log in, and one first step. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { FirstAdmin } from '../kontrolapi/main.ts';
import type { ListenerSpec } from '../proxy/link/messages.ts';
import type { ListenAddress, SettingsOfProcess } from '../shared/settings.ts';
import { DEFAULT_DATA, DEFAULT_URL } from './connection.ts';
import { urlOf } from './internal-port.ts';

export interface Started {
  api?: { readonly url: string; readonly firstAdmin: FirstAdmin | null };
  proxy?: { readonly listening: readonly string[] };
}

/** `internalTaken`: another process answers at the internal port of this node. */
export function welcome(settings: SettingsOfProcess, started: Started, internalTaken: boolean): string {
  const api = started.api?.url ?? '';
  const token =
    settings.apiToken === null
      ? `$(cat ${quoted(join(settings.data, 'admin-token'))})`
      : '$KONTROL_API_TOKEN';
  const rows: [string, string][] = [];
  for (const address of settings.http) rows.push(['proxy', urlOf('http', address)]);
  for (const address of settings.https)
    rows.push(['HTTPS', `${urlOf('https', address)} (opens when there is a certificate)`]);
  rows.push(['API', api]);
  if (settings.internal !== null) rows.push(['internal', internalRow(settings.internal, internalTaken)]);
  rows.push(...loginRows(settings, api, started.api?.firstAdmin ?? null));
  const table = rows.map(([name, value]) => `  ${name.padEnd(9)} ${value}`).join('\n');
  return `
kontrol is up

${table}

Send every host to a program that listens on port 3000:

  curl -sS ${api}/v1/apply \\
    -H "Authorization: Bearer ${token}" -H 'Content-Type: application/json' \\
    -d '{"owner": "me", "objects": [
          {"kind": "service", "name": "web", "backends": ["127.0.0.1:3000"]},
          {"kind": "domain", "name": "*", "service": "web"}]}'

`;
}

function loginRows(settings: SettingsOfProcess, api: string, admin: FirstAdmin | null): [string, string][] {
  const tokenFile = admin?.tokenFile ?? resolve(settings.data, 'admin-token');
  const token: [string, string][] = existsSync(tokenFile)
    ? [['token', `${tokenFile} (${tokenUse(settings, api)})`]]
    : [];
  if (admin === null) return token;
  const password =
    admin.password === null
      ? `password in ${admin.passwordFile}`
      : `password ${admin.password} (shown only now)`;
  return [['login', `user ${admin.user}, ${password}`], ...token];
}

/** A path as a shell takes it, bare where that is the same. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** How the commands find this API and its token. */
function tokenUse(settings: SettingsOfProcess, api: string): string {
  const exports = [
    ...(api === DEFAULT_URL ? [] : [`KONTROL_URL=${api}`]),
    ...(resolve(settings.data) === resolve(DEFAULT_DATA) ? [] : [`KONTROL_DATA=${resolve(settings.data)}`]),
  ];
  return exports.length === 0
    ? 'used by kontrol in this folder'
    : `used by kontrol with ${exports.join(' ')}`;
}

function internalRow(address: ListenAddress, taken: boolean): string {
  if (!taken) return `${urlOf('http', address)}/status`;
  const { host, port } = address;
  return `${host}:${port} is in use by another process; give this node its own with --internal`;
}

/** A bound socket for people, e.g. `http :8080`. */
export function formatListener(spec: ListenerSpec): string {
  return `${spec.type} ${spec.address}:${spec.port}`;
}
