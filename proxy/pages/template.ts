/** Templates with `{{name}}` places. Parsed once; every value is HTML-escaped; unknown names stay as they are. */

export const TEMPLATE_NAMES = ['host', 'status', 'title', 'message', 'requestId', 'retryAfter'] as const;
type TemplateName = (typeof TEMPLATE_NAMES)[number];
export type TemplateValues = Readonly<Record<TemplateName, string>>;

/** Literal text and places in turn: even indexes are text, odd ones are names. */
export type Template = readonly string[];

const PLACE = /\{\{\s*(host|status|title|message|requestId|retryAfter)\s*\}\}/;

export function compileTemplate(text: string): Template {
  return text.split(PLACE);
}

export function fillTemplate(template: Template, values: TemplateValues): string {
  let output = '';
  for (let index = 0; index < template.length; index++) {
    const piece = template[index] as string;
    output += index % 2 === 0 ? piece : escapeHtml(values[piece as TemplateName]);
  }
  return output;
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] as string);
}
