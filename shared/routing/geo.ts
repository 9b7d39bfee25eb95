/**
 * Countries of addresses, from the GeoLite2 country data that geoip-lite brings along (8 MB once loaded; the city
 * data would be 106 MB). Nothing is read before the first look-up; a failure to read is an Error there, so that a
 * country rule is refused when it is compiled and never stands open.
 */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { canonicalAddress } from '../address.ts';
import type { CountryLookup } from './firewall.ts';

/** The part of geoip-lite that is used. */
interface GeoipLite {
  lookup(address: string): { readonly country: string } | null;
}

const DATA_FILES = ['geoip-country.dat', 'geoip-country6.dat'];
let loaded: GeoipLite | null = null;

/**
 * The ISO code (upper case) of an address, null when none is known. Throws an Error when the data cannot be read.
 */
export const country: CountryLookup = (address) => {
  loaded ??= load();
  return loaded.lookup(canonicalAddress(address))?.country || null;
};

/**
 * geoip-lite takes its folder from GEODATADIR when it is first required, and reads country data only where it finds
 * no city data: it gets a folder of links for that moment. Where no such folder can be made (nothing is writable) it
 * reads the whole folder, which costs the memory but answers the same. An operator's own GEODATADIR is honoured.
 */
function load(): GeoipLite {
  const require = createRequire(import.meta.url);
  const before = process.env['GEODATADIR'];
  const folder = linksOnly(before ?? join(dirname(require.resolve('geoip-lite/package.json')), 'data'));
  if (folder !== null) process.env['GEODATADIR'] = folder;
  try {
    const geoip = require('geoip-lite') as GeoipLite;
    if (geoip.lookup('8.8.8.8')?.country !== 'US') throw new Error('the country data cannot be read');
    return geoip;
  } finally {
    if (before === undefined) delete process.env['GEODATADIR'];
    else process.env['GEODATADIR'] = before;
    if (folder !== null) rmSync(folder, { recursive: true, force: true });
  }
}

function linksOnly(data: string): string | null {
  let folder: string | null = null;
  try {
    folder = mkdtempSync(join(tmpdir(), `kontrol-geo-${process.pid}-`));
    for (const file of DATA_FILES) symlinkSync(join(data, file), join(folder, file));
    return folder;
  } catch {
    if (folder !== null) rmSync(folder, { recursive: true, force: true });
    return null;
  }
}
