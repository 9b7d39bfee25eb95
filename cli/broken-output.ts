/**
 * What happens when our own output cannot be written. A reader that left (`kontrol schema | head`, a log collector
 * that died) ends nothing: the command goes on to its end without it, and `kontrol run` keeps its program. Anything
 * else, like a full disk, is told once and makes the exit code 1.
 */
export class BrokenOutput {
  #failed = false;

  constructor(out: NodeJS.WriteStream, errors: NodeJS.WriteStream) {
    out.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || this.#failed) return;
      this.#failed = true;
      process.exitCode = 1;
      errors.write(
        `kontrol: the output cannot be written: ${error.message}; what was printed is incomplete\n`,
      );
    });
    // There is nobody left to tell.
    errors.on('error', () => {});
  }

  /** `code`, unless it would call an output complete that is not. */
  exitCode(code: number): number {
    return this.#failed && code === 0 ? 1 : code;
  }
}
