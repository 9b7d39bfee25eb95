/** What is special to one kind of object. Everything else is the same for all kinds. */

import type { z } from 'zod';
import type { FieldProblem } from '../../shared/errors.ts';
import type { Doc, Held, View } from '../revisions/view.ts';

export interface Findings {
  readonly problems?: readonly FieldProblem[];
  readonly warnings?: readonly FieldProblem[];
}

export interface KindRules {
  /** What a PUT takes, where that differs from what is stored. */
  readonly inputSchema?: z.ZodType;
  /** Checks an object against the state as it would be with it. */
  check?(doc: Doc, draft: View, name: string): Findings;
  /**
   * Turns what a PUT or apply gave (`input`, complete but not validated) into the document to store. Only needed
   * where parts live elsewhere (private keys). Throws `invalid`. With `keep` false nothing may be written.
   */
  prepare?(input: Doc, present: Held | undefined, keep: boolean): Promise<Doc>;
  /**
   * What a PUT, an apply or a restore, which write the whole object, leave there although they do not name it: `doc`
   * (its long form) with that. A PATCH removes it by name.
   */
  retain?(doc: Doc, present: Held | undefined): Doc;
}
