/**
 * The proxy's own answers, in the form the visitor prefers: HTML by template (a brand's, else the default one),
 * problem+json, or text. Rendering never throws: a template that is missing falls back, a value is always escaped.
 */
import { readFileSync } from 'node:fs';
import { STATUS_CODES } from 'node:http';
import { join } from 'node:path';
import { CAUSES } from '../../shared/causes.ts';
import { PAGE_NAMES, type PageName } from '../../shared/model/page.ts';
import { preferredForm } from './accept.ts';
import type { PageAnswer, PageRequest, Pages } from './contract.ts';
import { compileTemplate, fillTemplate, type Template, type TemplateValues } from './template.ts';

export interface PagesOptions {
  /** Folder with `404.html`, `maintenance.html` …; a name that is missing there uses the built-in plain page. */
  readonly folder: string;
  readonly onWarning?: (message: string) => void;
}

type Templates = Partial<Record<PageName, Template>>;

const PLAIN = compileTemplate(
  '<!doctype html><meta charset="utf-8"><title>{{title}}</title><h1>{{status}} {{title}}</h1><p>{{message}}</p><p>{{requestId}}</p>',
);
/** The default templates use nothing from outside; a brand may, so it sets no policy. */
const DEFAULT_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'";

export function createPages(options: PagesOptions): Pages {
  const defaults = readFolder(options);
  const brands = new Map<string, Templates>();
  return {
    setBrand(name, templates) {
      if (templates === null) brands.delete(name);
      else brands.set(name, compileAll(templates));
    },
    render(request) {
      const { page } = CAUSES[request.cause];
      const brand = request.brand === null ? undefined : brands.get(request.brand)?.[page];
      return render(request, brand ?? defaults[page] ?? PLAIN, brand === undefined);
    },
  };
}

function readFolder({ folder, onWarning }: PagesOptions): Templates {
  const templates: Templates = {};
  for (const name of PAGE_NAMES) {
    try {
      templates[name] = compileTemplate(readFileSync(join(folder, `${name}.html`), 'utf8'));
    } catch (error) {
      onWarning?.(`the page ${name}.html cannot be read, a plain one is used: ${(error as Error).message}`);
    }
  }
  return templates;
}

function compileAll(templates: Readonly<Partial<Record<string, string>>>): Templates {
  const compiled: Templates = {};
  for (const name of PAGE_NAMES) {
    const text = Object.hasOwn(templates, name) ? templates[name] : undefined;
    if (typeof text === 'string') compiled[name] = compileTemplate(text);
  }
  return compiled;
}

function render(request: PageRequest, template: Template, isDefault: boolean): PageAnswer {
  const cause = CAUSES[request.cause];
  const status = request.status ?? cause.status;
  const values: TemplateValues = {
    host: request.host,
    status: String(status),
    title: TITLES[cause.page] ?? STATUS_CODES[status] ?? 'Error',
    message: request.message ?? cause.message,
    requestId: request.requestId,
    retryAfter: request.retryAfter === null ? '' : String(request.retryAfter),
  };
  const form = preferredForm(request.accept);
  const fields: [string, string][] = [
    ['Content-Type', CONTENT_TYPES[form]],
    ['Cache-Control', 'no-store'],
    ['X-Content-Type-Options', 'nosniff'],
    ['Vary', 'Accept'],
    ['X-Request-Id', request.requestId],
  ];
  if (cause.proxyStatus !== null) {
    fields.push(['Proxy-Status', `kontrol; error=${cause.proxyStatus}; details="${request.cause}"`]);
  }
  if (request.retryAfter !== null) fields.push(['Retry-After', values.retryAfter]);
  if (form === 'html' && isDefault) fields.push(['Content-Security-Policy', DEFAULT_POLICY]);
  return { status, fields, body: Buffer.from(BODIES[form](values, request, template)) };
}

const TITLES: Partial<Record<PageName, string>> = {
  '404': 'Not found',
  '410': 'No longer available',
  maintenance: 'Back soon',
  inactive: 'Not active',
  secure: 'One moment',
  blocked: 'No access',
  limited: 'Too many requests',
  '502': 'Bad gateway',
  '504': 'No answer in time',
};

const CONTENT_TYPES = {
  html: 'text/html; charset=utf-8',
  json: 'application/problem+json',
  text: 'text/plain; charset=utf-8',
} as const;

const BODIES = {
  html: (values: TemplateValues, _request: PageRequest, template: Template) => fillTemplate(template, values),
  json: (values: TemplateValues, request: PageRequest) =>
    JSON.stringify({
      type: 'about:blank',
      title: values.title,
      status: Number(values.status),
      detail: values.message,
      code: request.cause,
      requestId: request.requestId,
      ...(request.retryAfter === null ? {} : { retryAfter: request.retryAfter }),
    }),
  text: (values: TemplateValues) =>
    `${values.status} ${values.title}\n\n${values.message}\n\nrequest ${values.requestId}\n`,
} as const;
