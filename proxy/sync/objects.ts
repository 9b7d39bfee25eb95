/**
 * The objects as this node believes them: what the log says, and edits made by hand in the store on top. Tells a
 * lagging projection (ignored) from an edit by hand (live at once); never deletes by itself what only went missing.
 */
import { type Kind, SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Loaded, StoredDocument } from '../../shared/store/contract.ts';
import { type PlainDocument, sameDocument } from './documents.ts';

interface Known {
  /** As served (if valid); null when it is deleted. */
  readonly doc: PlainDocument | null;
  /** As the log has it; null when it has none. */
  readonly log: PlainDocument | null;
  /** The revision that last wrote it; 0 for one that only ever was written by hand. */
  readonly rev: number;
}

/** What a full read showed: changes to make, and objects that were there before and are not now. */
export interface Findings {
  readonly changes: readonly Change[];
  readonly missing: readonly string[];
  /** Names whose document is there (again). */
  readonly present: ReadonlySet<string>;
}

export class Objects {
  readonly #kinds = new Map<Kind, Map<string, Known>>();
  /** `kind/name` of objects that are not as the log has them. */
  readonly #drift = new Set<string>();

  /** Number of objects of a kind, those held back from deletion included. */
  count(kind: Kind): number {
    let count = 0;
    for (const known of this.#of(kind).values()) if (known.doc !== null) count++;
    return count;
  }

  get(kind: Kind, name: string): PlainDocument | null {
    return this.#of(kind).get(name)?.doc ?? null;
  }

  /** `kind/name` of objects whose stored document differs from the log. */
  drift(): string[] {
    return [...this.#drift].sort();
  }

  /** Takes over an object as it was before: as served (null: not at all), and as the log had it at `rev`. */
  seed(kind: Kind, name: string, doc: PlainDocument | null, log: PlainDocument | null, rev: number): void {
    this.#set(kind, name, { doc, log, rev });
  }

  /** The changes of one revision. Returns those that make a difference. */
  revise(seq: number, changes: readonly Change[]): Change[] {
    return changes.filter(({ kind, name, doc }) => {
      const before = this.get(kind, name);
      this.#set(kind, name, { doc, log: doc, rev: seq });
      return !sameDocument(before, doc);
    });
  }

  /**
   * The whole of a kind as another log has it. Returns what that changes; what it lacks is left to the re-read that
   * has to follow, since only that can tell what is really gone.
   */
  reload(kind: Kind, objects: ReadonlyMap<string, { doc: PlainDocument; rev: number }>): Change[] {
    const names = this.#of(kind);
    const changes: Change[] = [];
    for (const [name, { doc, rev }] of objects) {
      if (!sameDocument(names.get(name)?.doc ?? null, doc)) changes.push({ kind, name, doc });
      this.#set(kind, name, { doc, log: doc, rev });
    }
    for (const [name, { doc }] of names) {
      if (!objects.has(name)) this.#set(kind, name, { doc, log: null, rev: 0 });
    }
    return changes;
  }

  /** Compares the documents of a kind with what is known. The log must have been read up to `seq` after them. */
  reread(kind: Kind, loaded: Loaded, seq: number): Findings {
    const names = this.#of(kind);
    const present = new Set<string>();
    const changes: Change[] = [];
    const undecided = new Set<string>();
    for (const document of loaded.documents) {
      const { name } = document;
      const known = names.get(name);
      if (isLagging(document, known, loaded.mark, seq)) undecided.add(name);
      else if (!document.deleted) {
        present.add(name);
        const doc = complete(kind, document);
        if (known !== undefined && sameDocument(known.doc, doc)) continue;
        changes.push({ kind, name, doc });
        this.#set(kind, name, { doc, log: known?.log ?? null, rev: known?.rev ?? 0 });
      }
    }
    const missing: string[] = [];
    for (const [name, known] of names) {
      if (present.has(name) || undecided.has(name) || known.rev > loaded.mark) continue;
      if (known.doc !== null) missing.push(name);
      else if (known.log === null) names.delete(name);
    }
    return { changes, missing, present };
  }

  /** Deletes what was found missing. */
  remove(kind: Kind, missing: readonly string[]): Change[] {
    const names = this.#of(kind);
    return missing.flatMap((name) => {
      const known = names.get(name);
      if (known === undefined || known.doc === null) return [];
      this.#set(kind, name, { ...known, doc: null });
      return [{ kind, name, doc: null }];
    });
  }

  #set(kind: Kind, name: string, known: Known): void {
    this.#of(kind).set(name, known);
    const key = `${kind}/${name}`;
    if (sameDocument(known.doc, known.log)) this.#drift.delete(key);
    else this.#drift.add(key);
  }

  #of(kind: Kind): Map<string, Known> {
    let names = this.#kinds.get(kind);
    if (names === undefined) {
      names = new Map();
      this.#kinds.set(kind, names);
    }
    return names;
  }
}

/** True when the document may just not have been projected yet: the log knows better for now. */
function isLagging(document: StoredDocument, known: Known | undefined, mark: number, seq: number): boolean {
  if (known === undefined) return false;
  const written = document.rev !== null && document.rev <= seq;
  return written ? (document.rev ?? 0) < known.rev : known.rev > mark;
}

/** A document written by hand may leave out the name that its `_id` has. */
function complete(kind: Kind, { name, doc }: StoredDocument): PlainDocument {
  if (kind === 'settings' ? name === SETTINGS_NAME : 'name' in doc) return doc;
  return { name, ...doc };
}
