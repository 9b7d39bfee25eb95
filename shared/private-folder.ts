/**
 * A folder in the temporary folder that only this user can enter, for Unix sockets whose own path would be too long.
 * Anybody may create a folder of that name first, and would then hear and say everything: such a one is refused.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/** Absolute path; created when it is not there. Throws when it belongs to someone else or is open to others. */
export function privateFolder(base: string = tmpdir()): string {
  const { uid } = userInfo();
  const folder = join(base, `kontrol-${uid}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const stats = lstatSync(folder);
  if (!stats.isDirectory() || stats.uid !== uid || (stats.mode & 0o077) !== 0) {
    throw new Error(`${folder} is not a private folder of this user; remove it`);
  }
  return folder;
}
