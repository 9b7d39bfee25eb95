/** A domain: a host name or pattern with its routes, firewall, pages and TLS rules. */
import { z } from 'zod';
import { compilePattern } from '../patterns.ts';
import {
  commonFields,
  duration,
  fieldName,
  fieldValue,
  hostPattern,
  mapOf,
  objectName,
  size,
} from './fields.ts';
import { maintenanceField } from './maintenance.ts';

/** `/prefix` by segments, `=/exact`, or `~regex` (unanchored). */
const routePath = z
  .string()
  .max(2_048)
  .superRefine((text, context) => {
    const problem = routePathProblem(text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  });

function routePathProblem(text: string): string | null {
  if (text.startsWith('~')) {
    try {
      compilePattern(text.slice(1));
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  }
  const path = text.startsWith('=') ? text.slice(1) : text;
  if (!path.startsWith('/'))
    return 'a path begins with "/" (prefix), "=/" (exact) or "~" (regular expression)';
  if (/[?#\s]/.test(path)) return 'a path has no query, fragment or white space';
  return null;
}

/** A key: a positive build number, or `latest`. */
export const keyReference = z.union([
  z.literal('latest'),
  z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
]);

/** What frames a message or belongs to one connection is the proxy's own; a route that set it could split messages. */
const PROXY_FIELDS = new Set([
  'connection',
  'content-length',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const changeableField = () =>
  fieldName().refine(
    (name) => !PROXY_FIELDS.has(name),
    'the proxy sets this field itself (for the Host of backends see the field host of the service)',
  );

const headerChanges = z.strictObject({
  set: mapOf(changeableField(), fieldValue()).optional(),
  add: mapOf(changeableField(), fieldValue()).optional(),
  remove: z.array(changeableField()).max(100).optional(),
});

const redirect = z
  .strictObject({
    to: fieldValue().refine(
      (to) => /^(https?:\/\/(?![/?#])[\x21-\x7e]|\/)[\x21-\x7e]*$/.test(to),
      'a redirect goes to http://…, https://… or /…, in visible ASCII',
    ),
    status: z
      .union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)])
      .optional()
      .describe('default 308'),
    keepPath: z.boolean().optional().describe('append path and query of the request; default false'),
  })
  .refine(({ to, keepPath }) => !keepPath || !/[?#]/.test(to), {
    path: ['to'],
    message: 'with keepPath the address has no query or fragment of its own',
  });

const answer = z.strictObject({
  status: z.number().int().min(200).max(599).optional().describe('default 200'),
  body: z.string().max(262_144).optional(),
  type: fieldValue().optional().describe('Content-Type; default text/plain; charset=utf-8'),
});

const rewrite = z
  .strictObject({
    match: z
      .string()
      .startsWith('~', 'a rewrite match is a regular expression and begins with "~"')
      .refine((text) => routePathProblem(text) === null, 'not a valid regular expression'),
    to: z
      .string()
      .max(2_048)
      .refine(
        (to) => /^[/$][\x21-\x7e]*$/.test(to) && !/[?#]/.test(to),
        'the new path begins with "/" or a group and has visible ASCII only, without a query: that of the request stays',
      ),
  })
  .superRefine(({ match, to }, context) => {
    const groups = groupsOf(match);
    for (const [group, digit] of to.matchAll(/\$(\d)/g)) {
      if (Number(digit) > groups) {
        const message = `${group} is no group of the match; it has ${groups}`;
        context.addIssue({ code: 'custom', path: ['to'], message });
      }
    }
  });

/** Capturing groups of a rewrite's match; as many as can be named when it is not valid, which is reported elsewhere. */
function groupsOf(match: string): number {
  try {
    return compilePattern(match.slice(1)).groups;
  } catch {
    return 9;
  }
}

export const routeSchema = z.strictObject({
  path: z
    .union([routePath.transform((path) => [path]), z.array(routePath).min(1).max(100)])
    .optional()
    .describe('default "/"'),
  priority: z.number().int().min(-1_000_000).max(1_000_000).optional().describe('greater first; default 0'),
  methods: z
    .array(z.string().regex(/^[A-Z!#$%&'*+.^_`|~0-9-]{1,32}$/, 'a method is an upper-case token'))
    .min(1)
    .max(32)
    .optional(),
  headers: mapOf(fieldName(), z.string().max(1_024))
    .optional()
    .describe('the request must carry these values'),
  service: objectName().optional(),
  key: keyReference.optional().describe('default "latest"'),
  redirect: redirect.optional(),
  answer: answer.optional(),
  maintenance: maintenanceField.optional(),
  stripPrefix: z.boolean().optional(),
  addPrefix: z
    .string()
    .max(1_024)
    .refine(
      (text) => /^\/[\x21-\x7e]*$/.test(text) && !/[?#]/.test(text),
      'a prefix begins with "/" and has no query',
    )
    .optional(),
  rewrite: rewrite.optional(),
  request: headerChanges.optional(),
  response: headerChanges.optional(),
  firewall: z.array(objectName()).max(100).optional(),
});
export type Route = z.output<typeof routeSchema>;

const domainLimits = z.strictObject({
  body: size().optional(),
  bodyIdle: duration().optional(),
  bodyRate: size().optional(),
});

const hsts = z.strictObject({
  maxAge: duration(),
  includeSubDomains: z.boolean().optional(),
  preload: z.boolean().optional(),
});

const shortForm = { service: objectName().optional(), key: keyReference.optional() };

/** Most routes of one domain. */
export const MAX_ROUTES = 10_000;

export const domainSchema = z
  .strictObject({
    name: hostPattern(),
    aliases: z.array(hostPattern()).max(1_000).optional(),
    mode: z.enum(['on', 'maintenance', 'off']).optional().describe('default on'),
    maintenance: maintenanceField.optional(),
    ...shortForm,
    routes: z.array(routeSchema).max(MAX_ROUTES).optional(),
    firewall: z.array(objectName()).max(100).optional(),
    pages: objectName().optional(),
    https: z.enum(['allow', 'redirect', 'only']).optional().describe('default allow'),
    hsts: hsts.nullable().optional(),
    clientCertificates: z
      .strictObject({ ca: z.string().max(1_000_000).describe('PEM of one authority or more') })
      .nullable()
      .optional()
      .describe('visitors have to show a certificate of this authority; default none'),
    limits: domainLimits.optional(),
    ...commonFields,
  })
  .superRefine((domain, context) => {
    if (domain.routes !== undefined && (domain.service !== undefined || domain.key !== undefined)) {
      context.addIssue({
        code: 'custom',
        path: ['service'],
        message: 'give either the short form (service, key) or routes, not both',
      });
    }
    if (domain.key !== undefined && domain.service === undefined) {
      context.addIssue({ code: 'custom', path: ['key'], message: 'a key needs its service' });
    }
    domain.routes?.forEach((route, index) => {
      const targets = routeTargets(route);
      if (targets.length !== 1) {
        const message =
          targets.length === 0
            ? 'a route needs one of service, redirect, answer, maintenance'
            : `a route has one target, this one has ${targets.join(' and ')}`;
        context.addIssue({ code: 'custom', path: ['routes', index], message });
      }
      if (route.key !== undefined && route.service === undefined) {
        context.addIssue({
          code: 'custom',
          path: ['routes', index, 'key'],
          message: 'a key needs its service',
        });
      }
    });
  })
  .transform(({ service, key, ...domain }) =>
    service === undefined
      ? domain
      : { ...domain, routes: [{ path: ['/'], service, ...(key === undefined ? {} : { key }) } as Route] },
  );

/** The targets a route names; a valid route has exactly one. A maintenance schedule beside a service is a mode, not a target. */
function routeTargets(route: Route): string[] {
  const targets: string[] = [];
  if (route.service !== undefined) targets.push('service');
  if (route.redirect !== undefined) targets.push('redirect');
  if (route.answer !== undefined) targets.push('answer');
  if (targets.length === 0 && route.maintenance !== undefined && route.maintenance !== false)
    targets.push('maintenance');
  return targets;
}

export type Domain = z.output<typeof domainSchema>;

/** Every host or pattern that a domain claims, its name first. */
export function claimedHosts(domain: Pick<Domain, 'name' | 'aliases'>): string[] {
  return [domain.name, ...(domain.aliases ?? [])];
}
