/** When the country data was last brought up to date: the time of its file, which an installation sets as well. */
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Some packers set all times to one before anything of this was there. */
const PLAUSIBLE = Date.UTC(2015, 0);

/** Milliseconds since 1970; null when it is not known. */
export function geoDataAt(): number | null {
  try {
    const own = process.env['GEODATADIR'];
    const require = createRequire(import.meta.url);
    const folder = own ?? join(dirname(require.resolve('geoip-lite/package.json')), 'data');
    const at = statSync(join(folder, 'geoip-country.dat')).mtimeMs;
    return at < PLAUSIBLE ? null : at;
  } catch {
    return null;
  }
}
