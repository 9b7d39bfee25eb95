/**
 * Cause codes of the data path: why a request ended as it did. One per request, in the access log, the metrics, the
 * `Proxy-Status` field (RFC 9209) and Explain. `proxyStatus` is the error type of RFC 9209 §2.3, or null where the
 * answer was not an error of a proxy.
 */
import type { PageName } from './model/page.ts';

interface CauseEntry {
  readonly status: number;
  readonly page: PageName;
  readonly proxyStatus: string | null;
  readonly message: string;
}

export const CAUSES = {
  bad_request: {
    status: 400,
    page: 'error',
    proxyStatus: 'http_request_error',
    message: 'The request is malformed.',
  },
  path_ambiguous: {
    status: 400,
    page: 'error',
    proxyStatus: 'http_request_error',
    message: 'The path could be read in two ways that lead to different places.',
  },
  https_only: {
    status: 403,
    page: 'blocked',
    proxyStatus: 'http_request_denied',
    message: 'This site is served over HTTPS only.',
  },
  rule_blocked: {
    status: 403,
    page: 'blocked',
    proxyStatus: 'http_request_denied',
    message: 'Access from here is not allowed.',
  },
  client_certificate_missing: {
    status: 403,
    page: 'blocked',
    proxyStatus: 'http_request_denied',
    message: 'This site is for visitors who show a certificate that it knows.',
  },
  no_routes: {
    status: 404,
    page: '404',
    proxyStatus: 'destination_not_found',
    message:
      'The proxy works, but it has no site yet. Add the first one over the API or with `kontrol set domain`.',
  },
  host_unknown: {
    status: 404,
    page: '404',
    proxyStatus: 'destination_not_found',
    message: 'There is no site under this name.',
  },
  route_unknown: {
    status: 404,
    page: '404',
    proxyStatus: 'destination_not_found',
    message: 'There is nothing at this address.',
  },
  method_refused: {
    status: 405,
    page: 'error',
    proxyStatus: 'http_request_denied',
    message: 'This method is not allowed.',
  },
  head_timeout: {
    status: 408,
    page: 'error',
    proxyStatus: 'http_request_error',
    message: 'The request took too long to arrive.',
  },
  body_timeout: {
    status: 408,
    page: 'error',
    proxyStatus: 'http_request_error',
    message: 'The body of the request took too long to arrive.',
  },
  key_gone: {
    status: 410,
    page: '410',
    proxyStatus: 'destination_not_found',
    message: 'This build is no longer available.',
  },
  body_too_large: {
    status: 413,
    page: 'error',
    proxyStatus: 'http_request_denied',
    message: 'The body of the request is too large.',
  },
  target_too_long: {
    status: 414,
    page: 'error',
    proxyStatus: 'http_request_error',
    message: 'The address of the request is too long.',
  },
  expectation_unknown: {
    status: 417,
    page: 'error',
    proxyStatus: 'http_request_denied',
    message: 'The expectation of the request is not known.',
  },
  misdirected: {
    status: 421,
    page: 'error',
    proxyStatus: 'http_request_denied',
    message: 'This connection is not for that site.',
  },
  rate_limited: {
    status: 429,
    page: 'limited',
    proxyStatus: 'http_request_denied',
    message: 'Too many requests; please wait a moment.',
  },
  head_too_large: {
    status: 431,
    page: 'error',
    proxyStatus: 'http_request_error',
    message: 'The header fields of the request are too large.',
  },
  version_unknown: {
    status: 505,
    page: 'error',
    proxyStatus: 'http_request_error',
    message: 'This version of HTTP is not supported.',
  },
  securepage: {
    status: 200,
    page: 'secure',
    proxyStatus: null,
    message: 'Please confirm that you want to continue.',
  },
  maintenance: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'destination_unavailable',
    message: 'The site is under maintenance and will be back soon.',
  },
  domain_off: {
    status: 503,
    page: 'inactive',
    proxyStatus: 'destination_unavailable',
    message: 'This site is not active.',
  },
  service_disabled: {
    status: 503,
    page: 'inactive',
    proxyStatus: 'destination_unavailable',
    message: 'This site is not active.',
  },
  key_disabled: {
    status: 503,
    page: 'inactive',
    proxyStatus: 'destination_unavailable',
    message: 'This build is not active.',
  },
  no_table: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'proxy_internal_error',
    message: 'The proxy has no configuration yet.',
  },
  service_missing: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'destination_not_found',
    message: 'The site is not available right now.',
  },
  key_future: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'destination_not_found',
    message: 'This build is not available yet.',
  },
  no_backend: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'destination_unavailable',
    message: 'The site is not available right now.',
  },
  all_dead: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'destination_unavailable',
    message: 'The site is not available right now.',
  },
  out_of_sockets: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'proxy_internal_error',
    message: 'The proxy cannot open another connection right now.',
  },
  queue_full: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'connection_limit_reached',
    message: 'The site is very busy right now.',
  },
  queue_timeout: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'connection_limit_reached',
    message: 'The site is very busy right now.',
  },
  quarantined: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'proxy_configuration_error',
    message: 'The site is not available right now.',
  },
  rule_unloadable: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'proxy_configuration_error',
    message: 'The site is not available right now.',
  },
  overloaded: {
    status: 503,
    page: 'maintenance',
    proxyStatus: 'connection_limit_reached',
    message: 'The proxy is at its limit of connections.',
  },
  backend_reset: {
    status: 502,
    page: '502',
    proxyStatus: 'connection_terminated',
    message: 'The site broke off before it answered.',
  },
  backend_protocol: {
    status: 502,
    page: '502',
    proxyStatus: 'http_protocol_error',
    message: 'The site gave an answer that is not valid.',
  },
  backend_upgrade: {
    status: 502,
    page: '502',
    proxyStatus: 'http_upgrade_failed',
    message: 'The site switched protocols without being asked.',
  },
  first_byte_timeout: {
    status: 504,
    page: '504',
    proxyStatus: 'http_response_timeout',
    message: 'The site took too long to answer.',
  },
  idle_timeout: {
    status: 504,
    page: '504',
    proxyStatus: 'connection_read_timeout',
    message: 'The site stopped in the middle of its answer.',
  },
  backend_cut: {
    status: 502,
    page: '502',
    proxyStatus: 'http_response_incomplete',
    message: 'The site broke off in the middle of its answer.',
  },
  loop: {
    status: 508,
    page: 'error',
    proxyStatus: 'proxy_loop_detected',
    message: 'The site is set up so that requests for it go round in circles.',
  },
  not_cached: {
    status: 504,
    page: '504',
    proxyStatus: null,
    message: 'Only a stored answer was asked for, and there is none.',
  },
  client_gone: {
    status: 499,
    page: 'error',
    proxyStatus: null,
    message: 'The client left before its answer was complete.',
  },
  internal: {
    status: 500,
    page: 'error',
    proxyStatus: 'proxy_internal_error',
    message: 'Something went wrong here.',
  },
} as const satisfies Record<string, CauseEntry>;

export type CauseCode = keyof typeof CAUSES;
