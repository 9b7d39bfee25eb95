/** For tests: what a command prints while it runs in this process. */

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function said(command: () => Promise<number>): Promise<Said> {
  const text = { out: '', err: '' };
  const { stdout, stderr } = process;
  const writes = [stdout.write, stderr.write] as const;
  // The runner of the tests tells its results on stdout too, in buffers.
  const take = (name: 'out' | 'err', write: typeof stdout.write) =>
    function (this: NodeJS.WriteStream, piece: string | Uint8Array, done?: () => void) {
      if (typeof piece !== 'string') return write.call(this, piece, done as never);
      text[name] += piece;
      if (typeof done === 'function') setImmediate(done);
      return true;
    };
  stdout.write = take('out', writes[0]) as typeof stdout.write;
  stderr.write = take('err', writes[1]) as typeof stderr.write;
  try {
    return { code: await command(), ...text };
  } finally {
    [stdout.write, stderr.write] = writes;
  }
}
