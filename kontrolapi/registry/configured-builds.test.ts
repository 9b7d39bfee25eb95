import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Service } from '../../shared/model/service.ts';
import { State } from '../revisions/view.ts';
import { greatestConfigured, rememberBuilds } from './configured-builds.ts';
import type { Draft } from './edits.ts';

const at = (state?: 'ready' | 'drain' | 'maintenance') => ({
  backends: [{ address: '10.0.0.1:80', ...(state === undefined ? {} : { state }) }],
});
const service = (keys: Service['keys'], more: Partial<Service> = {}): Service => ({
  name: 'shop',
  keys,
  ...more,
});

test('the greatest enabled key with a ready backend counts', () => {
  const cases: [Service, number | null][] = [
    [service({ '7': at(), '8': at() }), 8],
    [service({ '7': at(), '10': at('ready'), '9': at() }), 10],
    [service({ '7': at(), '8': { backends: [] } }), 7],
    [service({ '7': at(), '8': at('drain'), '9': at('maintenance') }), 7],
    [service({ '7': at(), '8': { ...at(), enabled: false } }), 7],
    [service({ '7': {}, '8': {} }), null],
    [service({ '8': at() }), null],
    [service({ '7': at(), '8': at() }, { latest: 7 }), null],
    [service({}), null],
  ];
  for (const [doc, expected] of cases) assert.equal(greatestConfigured(doc), expected, JSON.stringify(doc));
});

/** Members that only know which build is current. */
function memory(current: number | null) {
  const draft: Draft = { current, backends: [] };
  let writes = 0;
  return {
    draft,
    writes: () => writes,
    peek: () => ({ v: 1, ...draft }),
    async change<T>(_service: string, edit: (draft: Draft) => T): Promise<T> {
      writes++;
      return edit(draft);
    },
  };
}

test('what is remembered grows, never shrinks, and is written once', async () => {
  const view = new State();
  const put = (keys: Service['keys']) => view.put('service', 'shop', { rev: 1, doc: { ...service(keys) } });
  const members = memory(null);
  put({ '7': at(), '8': {} });
  await rememberBuilds(view, members);
  put({ '7': at(), '8': at() });
  await rememberBuilds(view, members);
  await rememberBuilds(view, members);
  put({ '7': at(), '8': at('drain') });
  await rememberBuilds(view, members);
  assert.deepEqual([members.draft.current, members.writes()], [8, 2]);
});

test('a greater build that a worker brought in the meantime stays', async () => {
  const view = new State();
  view.put('service', 'shop', { rev: 1, doc: { ...service({ '7': at(), '8': at() }) } });
  const members = memory(9);
  await rememberBuilds(view, { ...members, peek: () => ({ v: 0, current: null, backends: [] }) });
  assert.equal(members.draft.current, 9);
});
