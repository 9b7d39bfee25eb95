/** A command that was used wrongly: its message says how it is used, and the exit code is 2. */
import { KontrolError } from '../shared/errors.ts';

export class WrongUse extends KontrolError {
  constructor(message: string) {
    super('invalid', message);
  }
}
