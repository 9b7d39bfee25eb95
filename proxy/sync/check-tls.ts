/**
 * TLS of active checks. The name that is expected of a backend, the authority it is verified by and the certificate
 * it is shown are those of requests (`upstream/tls-identity.ts`): a check that saw something else would take a backend
 * out that serves. Sessions are not resumed, so each check verifies anew.
 */
import { isIP } from 'node:net';
import tls from 'node:tls';
import type { ResolvedService } from '../../shared/model/service.ts';
import type { Table } from '../../shared/routing/table.ts';
import { certificateKeySecret } from '../../shared/secrets.ts';
import type { PemPair } from '../tls/key-pair.ts';

/** One context per service as it is configured, made again when its certificate is another. */
const contexts = new WeakMap<
  ResolvedService,
  { readonly context: tls.SecureContext; readonly shown: string }
>();

/**
 * How a check connects. `name`: the host as configured, null for an address or a socket; `client`: the pair of
 * `tls.certificate`. Throws an Error that says what is wrong with the settings.
 */
export function tlsOptions(
  service: ResolvedService,
  name: string | null,
  client: PemPair | null,
): tls.ConnectionOptions {
  const { verify, serverName } = service.tls;
  const expected = serverName ?? name ?? withoutPort(service.host);
  return {
    rejectUnauthorized: verify,
    secureContext: contextOf(service, client),
    ...expectation(expected),
  };
}

/** The pair that a service may show to its backends; null when it is not there, or its key is not. */
export function clientPairOf(table: Table, name: string): PemPair | null {
  const found = table.certificate(name);
  const key = found === undefined ? undefined : table.secret(certificateKeySecret(found.keyDigest));
  return found === undefined || key === undefined ? null : { certificate: found.certificate, key };
}

function expectation(name: string | null): tls.ConnectionOptions {
  // Without a name node:tls compares the address it connects to.
  if (name === null) return {};
  // An address is not sent as SNI (RFC 6066 §3), but the certificate can still be compared with it.
  if (isIP(name) !== 0)
    return { servername: '', checkServerIdentity: (_, peer) => tls.checkServerIdentity(name, peer) };
  return { servername: name };
}

function contextOf(service: ResolvedService, client: PemPair | null): tls.SecureContext {
  const { ca, certificate } = service.tls;
  if (certificate !== null && client === null)
    throw new Error(
      `its client certificate "${certificate}" is not there: save it, or remove tls.certificate`,
    );
  const shown = client === null ? '' : client.certificate + client.key;
  const known = contexts.get(service);
  if (known?.shown === shown) return known.context;
  const context = tls.createSecureContext({
    minVersion: 'TLSv1.2',
    ...(ca === null ? {} : { ca }),
    ...(client === null ? {} : { cert: client.certificate, key: client.key }),
  });
  contexts.set(service, { context, shown });
  return context;
}

function withoutPort(host: string | null): string | null {
  return host === null ? null : host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}
