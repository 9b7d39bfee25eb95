/** The status page of the internal port: one plain HTML page without script, every value escaped. */
import type { BackendReport, StatusReport } from './status-report.ts';

/** Backends shown on the page; the JSON has all of them. */
const MAX_ROWS = 5_000;

const STYLE = `
body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1b1f24;background:#fff}
h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:1.6rem 0 .4rem}
table{border-collapse:collapse}th,td{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}
th{font-weight:600;border-bottom:1px solid #ccc}td.n{text-align:right;font-variant-numeric:tabular-nums}
.bad{color:#b00020}.good{color:#0a6b2d}.dim{color:#667}
@media(prefers-color-scheme:dark){body{background:#16181b;color:#e6e6e6}th{border-color:#444}.bad{color:#ff7a80}.good{color:#6fd08c}.dim{color:#99a}}
`;

export function renderStatusPage(report: StatusReport): string {
  const { node, why } = report;
  const facts: [string, string][] = [
    ['ready', node.ready ? good('yes') : bad(`no: ${why.join('; ')}`)],
    ['version', html(node.version)],
    ['serves revision', `${node.seq} <span class="dim">${html(node.hash)}</span>`],
    ['lag', `${node.lagMs} ms`],
    ['store', node.store === 'up' ? good('up') : bad('down (what is in force stays)')],
    ['bus', node.bus === 'up' ? good('up') : bad('down (the store is asked instead)')],
    [
      'health checks',
      report.checksSuspended
        ? bad('all of them fail: not believed, the network of this machine is suspected')
        : good('believed'),
    ],
    ['last-known-good copy', report.copy ? good('written') : bad('cannot be written')],
  ];
  const sections = [
    table(
      ['fact', 'value'],
      facts.map(([name, value]) => row([html(name), value])),
    ),
    section(
      'Processes',
      ['role', 'number', 'pid', 'revision'],
      node.processes.map(({ role, id, pid, seq }) => row([html(role), String(id), String(pid), String(seq)])),
    ),
    section(
      'Quarantined',
      ['object', 'why', 'instead'],
      node.quarantined.map(({ kind, name, reason, lastGood }) =>
        row([html(`${kind}/${name}`), bad(reason), insteadOf(kind, lastGood)]),
      ),
    ),
    section(
      'Deletions held back',
      ['object'],
      node.held.map((name) => row([bad(name)])),
    ),
    section(
      'Edited by hand',
      ['object'],
      node.drift.map((name) => row([html(name)])),
    ),
    section(
      'Backends',
      ['service', 'key', 'address', 'state', 'health', 'active', 'tunnels', 'idle', 'failures', 'last check'],
      report.backends.slice(0, MAX_ROWS).map((backend) => backendRow(backend, report.at)),
    ),
  ];
  if (report.backends.length > MAX_ROWS) {
    sections.push(
      `<p class="dim">${report.backends.length - MAX_ROWS} more in the JSON form of this page.</p>`,
    );
  }
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Kontrol: ${html(node._id)}</title><style>${STYLE}</style></head><body>
<h1>${html(node._id)}</h1>${sections.join('\n')}</body></html>
`;
}

/** What is in force in place of a quarantined object. A listener has nobody to answer: its port stays shut. */
function insteadOf(kind: string, lastGood: boolean): string {
  if (lastGood) return 'last good version';
  return kind === 'listener' ? 'not open' : 'answers 503';
}

function backendRow(backend: BackendReport, now: number): string {
  const health = backend.alive ? good('alive') : bad(`down: ${backend.problem ?? ''}`);
  const out =
    backend.alive && backend.outIn > 0 ? bad(`, out in ${backend.outIn}: ${backend.outWhy ?? ''}`) : '';
  const ramp = backend.ramp < 1 ? `, ${Math.round(backend.ramp * 100)} % of its share` : '';
  const checked =
    backend.checkedAt === null
      ? '–'
      : `${Math.max(0, Math.round((now - backend.checkedAt) / 100) / 10)} s ago`;
  return row([
    html(backend.service),
    String(backend.key),
    html(backend.address),
    html(backend.worker === null ? backend.state : `${backend.state} (worker)`),
    health + out + ramp,
    String(backend.active),
    String(backend.tunnels),
    String(backend.idle),
    String(backend.failures),
    checked,
  ]);
}

function section(title: string, heads: readonly string[], rows: readonly string[]): string {
  return rows.length === 0 ? '' : `<h2>${html(title)} (${rows.length})</h2>${table(heads, rows)}`;
}

function table(heads: readonly string[], rows: readonly string[]): string {
  const head = heads.map((text) => `<th>${html(text)}</th>`).join('');
  return `<table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

/** Cells are HTML already. */
function row(cells: readonly string[]): string {
  const cell = (content: string) => `<td${/^\d+$/.test(content) ? ' class="n"' : ''}>${content}</td>`;
  return `<tr>${cells.map(cell).join('')}</tr>`;
}

function good(text: string): string {
  return `<span class="good">${html(text)}</span>`;
}

function bad(text: string): string {
  return `<span class="bad">${html(text)}</span>`;
}

function html(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
