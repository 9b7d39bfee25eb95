import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import { referencesOf } from './references.ts';
import { type Doc, Draft, State, type View } from './view.ts';

const name = fc.constantFrom('a', 'b', 'c');
const domain = fc.record({
  aliases: fc.array(fc.constantFrom('w', 'x', 'y'), { maxLength: 2 }),
  routes: fc.array(fc.record({ service: name, firewall: fc.array(name, { maxLength: 2 }) }), {
    maxLength: 2,
  }),
});
const change: fc.Arbitrary<Change> = fc.oneof(
  fc
    .tuple(name, fc.option(domain))
    .map(([at, doc]) => ({ kind: 'domain' as const, name: at, doc: doc && { name: at, ...doc } })),
  fc
    .tuple(name, fc.boolean())
    .map(([at, there]) => ({ kind: 'service' as const, name: at, doc: there ? { name: at } : null })),
  fc
    .tuple(name, fc.boolean())
    .map(([at, there]) => ({ kind: 'rule' as const, name: at, doc: there ? { name: at } : null })),
);

/** The same answers, by looking at everything. */
class Naive {
  readonly docs = new Map<string, { kind: Kind; name: string; doc: Doc }>();

  apply({ kind, name: at, doc }: Change): void {
    if (doc === null) this.docs.delete(`${kind}/${at}`);
    else this.docs.set(`${kind}/${at}`, { kind, name: at, doc });
  }

  claimants(host: string): string[] {
    const claims = (doc: Doc) => [doc.name, ...(doc.aliases as string[])].filter((each) => each === host);
    return [...this.docs.values()]
      .filter(({ kind }) => kind === 'domain')
      .flatMap(({ name: at, doc }) => claims(doc).map(() => at));
  }

  referrers(kind: Kind, at: string): string[] {
    return [...this.docs.values()].flatMap((each) =>
      referencesOf(each.kind, each.doc)
        .filter((reference) => reference.kind === kind && reference.name === at)
        .map(({ path }) => `${each.kind}/${each.name} ${path}`),
    );
  }
}

function assertSame(view: View, naive: Naive): void {
  for (const host of ['a', 'b', 'c', 'w', 'x', 'y']) {
    assert.deepEqual([...view.claimants(host)].sort(), naive.claimants(host).sort());
  }
  for (const kind of ['service', 'rule'] as const) {
    for (const at of ['a', 'b', 'c']) {
      const told = view.referrers(kind, at).map((each) => `${each.kind}/${each.name} ${each.path}`);
      assert.deepEqual(told.sort(), naive.referrers(kind, at).sort());
      assert.equal(view.get(kind, at) !== undefined, naive.docs.has(`${kind}/${at}`));
    }
  }
  assert.equal([...view.all()].length, naive.docs.size);
}

test('a state that is changed again and again, and a draft on it, answer as one that looks at everything', () => {
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 20 }),
      fc.array(change, { maxLength: 6 }),
      (before, drafted) => {
        const state = new State();
        const naive = new Naive();
        for (const [index, each] of before.entries()) {
          state.put(each.kind, each.name, each.doc === null ? null : { rev: index + 1, doc: each.doc });
          naive.apply(each);
        }
        assertSame(state, naive);
        // One change per object, as revisions have it.
        const changes = [...new Map(drafted.map((each) => [`${each.kind}/${each.name}`, each])).values()];
        const draft = new Draft(state, changes);
        for (const each of changes) naive.apply(each);
        assertSame(draft, naive);
      },
    ),
    { numRuns: 300 },
  );
});

test('documents of any shape, as somebody may write them by hand, are indexed without harm', () => {
  const state = new State();
  const odd: unknown[] = [
    { aliases: 5, routes: { a: 1 }, firewall: 'x', pages: [] },
    { name: null, aliases: [null, {}], routes: [null, 3, { firewall: [1, null] }], hosts: null, tls: null },
  ];
  for (const doc of odd) {
    for (const kind of ['domain', 'service', 'listener', 'settings', 'rule'] as const) {
      state.put(kind, 'odd', { rev: 1, doc: doc as Doc });
      state.put(kind, 'odd', null);
    }
  }
  assert.equal([...state.all()].length, 0);
});

test('names are sorted, and the same list until one comes or goes', () => {
  const state = new State();
  for (const each of ['b', 'c', 'a']) state.put('page', each, { rev: 1, doc: {} });
  const names = state.names('page');
  assert.deepEqual(names, ['a', 'b', 'c']);
  state.put('page', 'b', { rev: 2, doc: { changed: true } });
  assert.equal(state.names('page'), names);
  state.put('page', 'b', null);
  assert.deepEqual(state.names('page'), ['a', 'c']);
});
