/** `kontrol explain URL` (or the id of a request that was seen): why it goes where it goes. */
import { type ClientOptions, clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { cell, printJson } from './output.ts';
import { WrongUse } from './wrong-use.ts';

interface Explained {
  readonly seq: number;
  readonly request: Readonly<Record<string, unknown>>;
  readonly stages: readonly {
    readonly stage: string;
    readonly candidates: readonly { readonly name: string; readonly won: boolean; readonly reason: string }[];
    readonly rules: readonly {
      readonly rule: string;
      readonly outcome: string;
      readonly dryRun: boolean;
      readonly reason: string;
    }[];
    readonly notes: readonly string[];
  }[];
  readonly decision: Readonly<Record<string, unknown>>;
  readonly backends?: {
    readonly policy: string;
    readonly pick: string | null;
    readonly why: string;
    readonly candidates: readonly {
      readonly address: string;
      readonly eligible: boolean;
      readonly reason: string;
      readonly active: number;
    }[];
  };
  readonly record?: Readonly<Record<string, unknown>>;
}

/** Candidates that lost are told up to here; `--json` has them all. */
const MAX_LOST = 12;

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'explain',
    'Tell why a request goes where it goes: an address, or the X-Request-Id of a request that was just made.',
  )
    .argument('<url-or-request-id>')
    .option('-X, --method <method>', 'default GET')
    .option('-H, --header <name:value...>', 'a header field of the request')
    .option('--address <address>', 'of the visitor; default: yours')
    .option('--at <seq>', 'as things were at this revision');
  return runClient(command, argv, async (connection, options, [target = '']) => {
    const { body } = await call<Explained>(connection, 'POST', '/v1/explain', question(target, options));
    if (options.json) printJson(body);
    else process.stdout.write(`${describe(body).join('\n')}\n`);
    return 0;
  });
}

function question(target: string, options: ClientOptions & Readonly<Record<string, unknown>>) {
  const isAddress = /[./:]/.test(target);
  const at = options['at'];
  if (at !== undefined && !/^\d+$/.test(String(at)))
    throw new WrongUse(`'${String(at)}' is not the number of a revision; 'kontrol history' lists them`);
  return {
    ...(isAddress ? { url: target } : { request: target }),
    ...(options['method'] === undefined ? {} : { method: String(options['method']).toUpperCase() }),
    ...(options['header'] === undefined ? {} : { headers: headersOf(options['header'] as string[]) }),
    ...(options['address'] === undefined ? {} : { address: options['address'] }),
    ...(at === undefined ? {} : { at: Number(at) }),
  };
}

function headersOf(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf(':');
      if (at < 1) throw new WrongUse(`'${line}' is no header field; give it as 'name: value'`);
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }),
  );
}

function describe({ seq, request, stages, decision, backends, record }: Explained): string[] {
  const scheme = request['secure'] === true ? 'https' : 'http';
  const target = `${scheme}://${request['host']}${request['path']}${request['query']}`;
  const lines = [`${request['method']} ${target} from ${request['address']}, revision ${seq}`];
  if (record !== undefined) {
    const { node, at, status, backend, cause } = record;
    const when = typeof at === 'number' ? new Date(at).toISOString() : '?';
    lines.push(
      `was answered ${cell(status)} by node ${cell(node)} at ${when}, backend ${cell(backend)}, cause ${cell(cause)}`,
    );
  }
  for (const { stage, candidates, rules, notes } of stages) {
    lines.push(`${stage}:`);
    const lost = candidates.filter(({ won }) => !won);
    for (const { name, won, reason } of candidates.filter(
      (each) => each.won || lost.indexOf(each) < MAX_LOST,
    ))
      lines.push(`  ${won ? '>' : ' '} ${cell(name, 80)}: ${cell(reason, 120)}`);
    if (lost.length > MAX_LOST) lines.push(`    and ${lost.length - MAX_LOST} more that lost`);
    for (const { rule, outcome, dryRun, reason } of rules)
      lines.push(`    rule ${cell(rule)}: ${outcome}${dryRun ? ' (dry run)' : ''}, ${cell(reason, 120)}`);
    for (const note of notes) lines.push(`    ${cell(note, 200)}`);
    if (lines.at(-1) === `${stage}:`) lines[lines.length - 1] = `${stage}: nothing to decide`;
  }
  lines.push(`=> ${outcomeOf(decision)}`);
  if (backends !== undefined) {
    for (const { address, eligible, reason, active } of backends.candidates)
      lines.push(`  ${eligible ? '>' : ' '} ${address} (${active} under way): ${reason}`);
    lines.push(`=> ${backends.pick ?? 'no single backend'}: ${backends.why} (${backends.policy})`);
  }
  return lines;
}

function outcomeOf(decision: Explained['decision']): string {
  switch (decision['type']) {
    case 'forward':
      return `service ${decision['service']}, key ${decision['key']}${decision['path'] === null ? '' : `, as ${cell(decision['path'], 200)}`}`;
    case 'redirect':
      return `redirect ${decision['status']} to ${cell(decision['location'], 200)}`;
    case 'answer':
      return `fixed answer ${decision['status']}`;
    default:
      return `page ${decision['status']} (${decision['cause']}): ${decision['message']}`;
  }
}
