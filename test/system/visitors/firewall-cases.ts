/**
 * What is asked of the firewall: rules that guard one domain each, and who gets past them. Visitors come directly, or
 * through the trusted proxy 127.0.0.9, or through one that nobody trusts; what they send is in `asking`.
 */
import { networkInterfaces } from 'node:os';
import type { Asking } from './asking.ts';

/** Whether this machine has ::1; where it has not, IPv6 visitors come through the trusted proxy alone. */
export const HAS_IPV6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
);
export const TRUSTED = '127.0.0.9';

/** A visitor with this address, seen through the trusted proxy. */
export const through = (...chain: string[]): Asking => ({
  from: TRUSTED,
  headers: { 'X-Forwarded-For': chain.join(', ') },
});
export const directly = (from: string): Asking => ({ from });

type Rule = Readonly<Record<string, unknown>>;

export interface Guarded {
  readonly what: string;
  /** In the order of the domain's list. */
  readonly rules: readonly Rule[];
  readonly pass: readonly Asking[];
  /** Refused with 403. */
  readonly blocked: readonly Asking[];
  /** See the interstitial, if they are people. */
  readonly asked?: readonly Asking[];
}

// By country: 8.8.8.8 and 2001:4860:… US, 194.25.0.60 and 2003:… DE; documentation addresses have none.
const US = [
  through('8.8.8.8'),
  through('2001:4860:4860::8888'),
  through('::ffff:8.8.8.8'),
  through('::ffff:808:808'),
];
const DE = [through('194.25.0.60'), through('2003:0:1::1'), through('::ffff:c219:3c')];
const NOWHERE = [through('203.0.113.7'), through('2001:db8::7'), through('::ffff:203.0.113.7')];
const LOCAL = [
  directly('127.0.0.1'),
  ...(HAS_IPV6 ? [directly('::1')] : []),
  through('10.1.2.3'),
  through('fd00::1'),
];
const EVERYONE = [...US, ...DE, ...NOWHERE, ...LOCAL];

/** Each criterion with those whom it fits and those whom it does not. */
const CRITERIA: readonly {
  type: string;
  match?: string[];
  fits: readonly Asking[];
  not: readonly Asking[];
}[] = [
  {
    type: 'ip',
    match: ['8.8.8.0/24', '2001:4860::/32', '127.0.0.2', '::1', '::ffff:194.25.0.0/112'],
    fits: [
      ...US,
      ...DE.slice(0, 1),
      ...DE.slice(2),
      directly('127.0.0.2'),
      ...(HAS_IPV6 ? [directly('::1')] : []),
    ],
    not: [...NOWHERE, ...DE.slice(1, 2), directly('127.0.0.1'), directly('127.0.0.3')],
  },
  {
    type: 'ip-regex',
    match: ['^8\\.8\\.', '^2001:4860:', '^(([0-9a-f]*):*)+g', '^::1$'],
    fits: [...US, ...(HAS_IPV6 ? [directly('::1')] : [])],
    not: [...DE, ...NOWHERE, directly('127.0.0.1')],
  },
  { type: 'country', match: ['us', 'NL'], fits: US, not: [...DE, ...NOWHERE] },
  { type: 'all', fits: EVERYONE, not: [] },
];

const LISTS: readonly Guarded[] = CRITERIA.flatMap(({ type, match, fits, not }) => {
  const rule = (list: string): Rule => ({ list, type, ...(match === undefined ? {} : { match }) });
  // A whitelist of countries lets the site's own machines in.
  const own = type === 'country' ? LOCAL : [];
  return [
    { what: `whitelist × ${type}`, rules: [rule('whitelist')], pass: [...fits, ...own], blocked: not },
    { what: `blacklist × ${type}`, rules: [rule('blacklist')], pass: [...not, ...own], blocked: fits },
    {
      what: `allow × ${type}, before a blacklist of all`,
      rules: [rule('allow'), { list: 'blacklist', type: 'all' }],
      pass: fits,
      blocked: [...not, ...own],
    },
    {
      what: `securepage × ${type}`,
      rules: [rule('securepage')],
      pass: [...not, ...own],
      blocked: [],
      asked: fits,
    },
  ];
});

const V4 = (list: string, match: string[], more: object = {}): Rule => ({ list, type: 'ip', match, ...more });
const PAST = '2020-01-01T00:00:00Z';
const FUTURE = '2099-01-01T00:00:00Z';
const A = directly('127.0.0.2');
const B = directly('127.0.0.3');
const C = directly('127.0.0.4');

const COMBINED: readonly Guarded[] = [
  {
    what: 'several whitelists must all be met',
    rules: [V4('whitelist', ['127.0.0.2', '127.0.0.3']), V4('whitelist', ['127.0.0.3', '127.0.0.4'])],
    pass: [B],
    blocked: [A, C],
  },
  {
    what: 'allow after a blacklist comes too late',
    rules: [
      V4('blacklist', ['127.0.0.2']),
      V4('allow', ['127.0.0.2', '127.0.0.3']),
      { list: 'blacklist', type: 'all' },
    ],
    pass: [B],
    blocked: [A, C],
  },
  {
    what: 'dry runs of every list change nothing, and do not end the list either',
    rules: [
      V4('whitelist', ['192.0.2.1'], { dryRun: true }),
      V4('blacklist', ['127.0.0.2'], { dryRun: true }),
      V4('allow', ['127.0.0.2', '127.0.0.3'], { dryRun: true }),
      { list: 'securepage', type: 'all', dryRun: true },
      V4('blacklist', ['127.0.0.3']),
    ],
    pass: [A, C],
    blocked: [B],
  },
  {
    what: 'expired rules: all but whitelists are inert',
    rules: [
      V4('allow', ['127.0.0.3'], { expires: PAST }),
      V4('blacklist', ['127.0.0.2'], { expires: PAST }),
      { list: 'securepage', type: 'all', expires: PAST },
      V4('blacklist', ['127.0.0.3'], { expires: FUTURE }),
    ],
    pass: [A, C],
    blocked: [B],
  },
  {
    what: 'an expired whitelist refuses all',
    rules: [V4('whitelist', ['127.0.0.2'], { expires: PAST })],
    pass: [],
    blocked: [A, B],
  },
  {
    what: 'a whitelist that has not expired yet',
    rules: [V4('whitelist', ['127.0.0.2'], { expires: '2099-01-01T00:00:00+02:00' })],
    pass: [A],
    blocked: [B],
  },
  {
    what: 'disabled rules do nothing, whatever their list',
    rules: [
      V4('whitelist', ['192.0.2.1'], { enabled: false }),
      { list: 'blacklist', type: 'all', enabled: false },
      { list: 'securepage', type: 'all', enabled: false },
    ],
    pass: [A, B],
    blocked: [],
  },
];

const SIX = '2001:db8:ffff:ffff:ffff:ffff:ffff:7';
const CHAINS: readonly Guarded[] = [
  {
    what: 'forwarding fields: the nearest address that is not trusted counts, and only what trusted peers say',
    rules: [V4('whitelist', ['203.0.113.7', SIX])],
    pass: [
      through('203.0.113.7'),
      through('8.8.8.8', '203.0.113.7'),
      through('8.8.8.8', '203.0.113.7', TRUSTED),
      through('203.0.113.7', TRUSTED, `::ffff:${TRUSTED}`),
      through('203.0.113.7:4711'),
      through(`[${SIX}]:4711`),
      through(SIX.toUpperCase()),
      through('not an address', '203.0.113.7'),
      { from: TRUSTED, headers: { Forwarded: 'for=8.8.8.8, for=203.0.113.7;proto=https' } },
      { from: TRUSTED, headers: { Forwarded: `for="[${SIX}]:4711"` } },
      { from: TRUSTED, headers: { 'X-Real-IP': '203.0.113.7' } },
    ],
    blocked: [
      // The visitor itself wrote the left of the list.
      through('203.0.113.7', '8.8.8.8'),
      through('203.0.113.7', 'unknown'),
      { from: TRUSTED },
      // Nobody trusts these peers, whatever they say.
      { from: '127.0.0.8', headers: { 'X-Forwarded-For': '203.0.113.7' } },
      { from: '127.0.0.8', headers: { 'X-Real-IP': '203.0.113.7', Forwarded: 'for=203.0.113.7' } },
      ...(HAS_IPV6 ? [{ from: '::1', headers: { 'X-Forwarded-For': '203.0.113.7' } }] : []),
    ],
  },
];

export const GUARDED: readonly Guarded[] = [...LISTS, ...COMBINED, ...CHAINS];
