/** A wall clock that tests move: libfaketime in front of the C library of the processes that are started with it. */
import { readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installPackages } from './process.ts';

const LIBRARIES = '/usr/lib';

/** Makes sure that libfaketime is there. */
export async function installFaketime(): Promise<void> {
  if (library() === null) await installPackages(['libfaketime']);
}

/** The environment in which a process goes by the clock of `file`; until that exists, by the true time. */
export function clockEnvironment(file: string): NodeJS.ProcessEnv {
  const path = library();
  if (path === null) throw new Error('the tests need libfaketime: node dist/test/services/install.js');
  return {
    LD_PRELOAD: path,
    FAKETIME_TIMESTAMP_FILE: file,
    // The file is read at each look at the clock: a jump is seen at once by every process.
    FAKETIME_NO_CACHE: '1',
    // As in a real jump, the monotonic clock and the times of files stay.
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
    // Else processes that are killed leave segments of shared memory.
    FAKETIME_DISABLE_SHM: '1',
  };
}

/** Moves the clock of `file` to so many seconds from the true time. */
export function setClock(file: string, seconds: number): void {
  // Never a half written file, which would be read as another time.
  writeFileSync(`${file}.next`, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`);
  renameSync(`${file}.next`, file);
}

/** Debian keeps it below the folder of the machine's architecture. */
function library(): string | null {
  for (const folder of readdirSync(LIBRARIES)) {
    try {
      const path = join(LIBRARIES, folder, 'faketime');
      if (readdirSync(path).includes('libfaketime.so.1')) return join(path, 'libfaketime.so.1');
    } catch {
      // Not in this one.
    }
  }
  return null;
}
