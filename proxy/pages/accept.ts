/** Which form of an answer a visitor prefers, from Accept (RFC 9110 §12.5.1). */

export type Form = 'html' | 'json' | 'text';

const MAX_RANGES = 32;

/**
 * HTML only for those who name it (browsers do), JSON for those who name it at least as strongly, else text: a
 * client that sends a bare wildcard is a program or a person at a terminal.
 */
export function preferredForm(accept: string | undefined): Form {
  if (accept === undefined) return 'text';
  let html = 0;
  let json = 0;
  let text = 0;
  for (const range of accept.split(',', MAX_RANGES)) {
    const [type = '', ...parameters] = range.split(';');
    const quality = qualityOf(parameters);
    const name = type.trim().toLowerCase();
    if (name === 'text/html' || name === 'application/xhtml+xml') html = Math.max(html, quality);
    else if (name === 'application/json' || name === 'application/problem+json')
      json = Math.max(json, quality);
    else if (name === 'text/plain') text = Math.max(text, quality);
  }
  if (html > 0 && html >= json && html >= text) return 'html';
  return json > 0 && json >= text ? 'json' : 'text';
}

function qualityOf(parameters: readonly string[]): number {
  for (const parameter of parameters) {
    const match = /^\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*$/i.exec(parameter);
    if (match !== null) return Math.min(1, Number(match[1]));
  }
  return 1;
}
