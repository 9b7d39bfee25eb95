import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import { Counters } from './counters.ts';
import { DryRuns, type DryRunTotals } from './dry-runs.ts';
import { MergedStats } from './merged-stats.ts';
import { renderMetrics, trafficFamilies } from './metrics.ts';

function counting(known: (name: string) => boolean = () => true) {
  const lines: string[] = [];
  const clock = new ManualClock();
  const log: Log = {
    ...silentLog,
    info: (code, message, fields) => lines.push(`${code} ${message} ${fields?.['times']}`),
  };
  return { runs: new DryRuns({ log, clock, knowsRule: known }), clock, lines };
}

const snapshot = (counters: Counters, dryRuns: DryRunTotals) =>
  JSON.parse(JSON.stringify({ ...counters.snapshot(), dryRuns }));

test('each decision of a dry run is counted by rule and outcome', () => {
  const { runs } = counting();
  for (const outcome of ['refused', 'refused', 'asked']) runs.took('bots', outcome, '192.0.2.1');
  runs.took('office', 'allowed', '192.0.2.1');
  assert.deepEqual(runs.totals(), { 'bots refused': 2, 'bots asked': 1, 'office allowed': 1 });
});

test('the log says for whom at once, then once a second how often', () => {
  const { runs, clock, lines } = counting();
  for (const last of [1, 2, 3]) runs.took('bots', 'refused', `192.0.2.${last}`);
  clock.advance(1_000);
  runs.took('bots', 'refused', '192.0.2.4');
  assert.deepEqual(lines, [
    'rule_dry_run bots would have decided "refused" for 192.0.2.1 1',
    'rule_dry_run bots would have decided "refused" for 192.0.2.4 3',
  ]);
});

test('rules that are gone are forgotten, and no number of rules takes more than its room', () => {
  const known = new Set(['kept', 'gone']);
  const { runs } = counting((name) => known.has(name));
  runs.took('kept', 'refused', '');
  runs.took('gone', 'refused', '');
  known.delete('gone');
  assert.deepEqual(runs.totals(), { 'kept refused': 1 });
  const many = counting().runs;
  for (let rule = 0; rule < 2_000; rule++) many.took(`rule-${rule}`, 'refused', '');
  assert.equal(Object.keys(many.totals()).length, 501);
  assert.equal(many.totals()['(other) refused'], 1_500);
});

test('the processes of a node add up in the metrics, and a rule leaves them with the table', async () => {
  const known = new Set(['bots', 'office']);
  const stats = new MergedStats(undefined, (name) => known.has(name));
  const [one, two] = [new Counters(), new Counters()];
  stats.report(1, snapshot(one, { 'bots refused': 2 }));
  stats.report(
    2,
    snapshot(two, { 'bots refused': 3, 'office allowed': 1, 'stranger refused': 1, '(other) asked': 5 }),
  );
  stats.report(1, snapshot(one, { 'bots refused': 4 }));
  const lines = async () =>
    (await renderMetrics(trafficFamilies(stats)))
      .split('\n')
      .filter((line) => /^kontrol_rule_dry/.test(line));
  assert.deepEqual(await lines(), [
    'kontrol_rule_dry_runs_total{rule="bots",outcome="refused"} 7',
    'kontrol_rule_dry_runs_total{rule="office",outcome="allowed"} 1',
    'kontrol_rule_dry_runs_total{rule="(other)",outcome="asked"} 5',
  ]);
  known.delete('bots');
  assert.equal((await lines()).length, 2);
  known.add('bots');
  stats.report(1, snapshot(one, { 'bots refused': 1 }));
  assert.match((await lines()).join('\n'), /rule="bots",outcome="refused"} 1$/m);
});

test('a snapshot without dry runs, or with nonsense in their place, is taken for the rest of it', () => {
  const stats = new MergedStats();
  const counters = new Counters();
  counters.connectionsTotal = 3;
  for (const dryRuns of [undefined, null, 7, { bots: 1, 'a b c': 2, 'bots refused': 'x' }])
    stats.report(1, { ...counters.snapshot(), dryRuns });
  assert.equal(stats.connectionsTotal, 3);
  assert.deepEqual(stats.dryRuns(), []);
});
