import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { problemsOf, readObjects } from './files.ts';

test('problems stand in the order in which a file is read: by line, then column, files as they were given', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-files-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  // What is unknown is told by the schema before what is inside, and line 10 is after line 9.
  const z = write(
    'z.yaml',
    [
      'kind: domain',
      'name: a.example.com',
      'mode: sideways',
      'routes:',
      '  - service: web',
      '    priority: first',
      'htps: only',
      'limits:',
      '  { body: [], bodyIdle: [] }',
      'owner: "?"',
    ].join('\n'),
  );
  const a = write('a.yaml', 'kind: service\nname: web\nbalance: 7\n');
  const places = problemsOf(readObjects([z, a])).map((line) => /([az]\.yaml:\d+:\d+)/.exec(line)?.[1]);
  assert.deepEqual(places, [
    'z.yaml:3:7',
    'z.yaml:6:15',
    'z.yaml:7:7',
    'z.yaml:9:11',
    'z.yaml:9:25',
    'z.yaml:10:8',
    'a.yaml:3:10',
  ]);
});

test('an object of no kind is told with its place, and with the kind that was probably meant', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-files-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'a.yaml');
  for (const [text, told] of [
    ['name: web\nkind: servce\n', /a\.yaml:2:7: there is no kind 'servce'; did you mean service\?$/],
    ['kind: planet\nname: x\n', /a\.yaml:1:7: there is no kind 'planet'; kinds are rule, page, /],
    ['name: web\n', /a\.yaml:1:1: the object says no kind; kinds are rule, page, /],
  ] as const) {
    writeFileSync(file, text);
    assert.throws(() => readObjects([file]), told);
  }
});
