/**
 * Bearer tokens: shown once, kept as SHA-256 (they are random, so no slow hash is needed), named, with a role and
 * an end. The token of `KONTROL_API_TOKEN` is one of them that lives in no store.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { type Caller, ROLES, type Role } from './caller.ts';
import { Remembered } from './remembered.ts';

/** `lastUsed` is exact to this; a token in use costs one write in this time. */
const LAST_USED_MS = 60_000;
const MAX_TOKEN_LENGTH = 512;

/** What is told of a token: everything but its text. Times are ISO 8601. */
export interface TokenInfo {
  readonly name: string;
  readonly role: Role;
  readonly service: string | null;
  readonly created: string;
  readonly createdBy: string;
  readonly expires: string | null;
  /** Its end has come: it opens nothing any more. */
  readonly expired: boolean;
  readonly lastUsed: string | null;
}

export interface NewToken {
  readonly name: string;
  readonly role: Role;
  readonly service: string | null;
  /** Milliseconds since 1970; null for never. */
  readonly expires: number | null;
}

export class Tokens {
  readonly #live: LiveStore;
  readonly #clock: Clock;
  readonly #remembered: Remembered;
  readonly #environmentHash: Buffer | null;
  /** Times of use that are not written yet, by `_id`. */
  readonly #used = new Map<string, number>();
  /** Settles when the last token that was asked for is there or refused. */
  #adding: Promise<unknown> = Promise.resolve();

  constructor(live: LiveStore, clock: Clock, environmentToken: string | null) {
    this.#live = live;
    this.#clock = clock;
    this.#remembered = new Remembered(live, 'tokens', clock);
    this.#environmentHash = environmentToken === null ? null : sha256(environmentToken);
  }

  /** Who a token stands for; null when it is unknown or has ended. Throws `store_unavailable` when that cannot be told. */
  async identify(text: string): Promise<Caller | null> {
    if (text.length === 0 || text.length > MAX_TOKEN_LENGTH) return null;
    const hash = sha256(text);
    if (this.#environmentHash !== null && timingSafeEqual(hash, this.#environmentHash)) {
      return { name: 'token/KONTROL_API_TOKEN', role: 'admin', service: null, user: null };
    }
    const id = hash.toString('hex');
    const document = await this.#remembered.get(id);
    const info = document === null ? null : readToken(document, this.#clock.now());
    if (info === null || info.expired) return null;
    this.#used.set(id, this.#clock.now());
    return { name: `token/${info.name}`, role: info.role, service: info.service, user: null };
  }

  async list(): Promise<TokenInfo[]> {
    const documents = await this.#live.list('tokens');
    const now = this.#clock.now();
    return documents
      .map((document) => ({ id: document._id, info: readToken(document, now) }))
      .flatMap(({ id, info }) => (info === null ? [] : [this.#withUse(id, info)]))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Creates a token and answers its text, which cannot be had again. Throws `conflict` when the name is taken,
   * `invalid` when it would have ended already.
   */
  async create(wanted: NewToken, by: string): Promise<{ token: string; info: TokenInfo }> {
    const now = this.#clock.now();
    if (wanted.expires !== null && !(wanted.expires > now)) {
      const message = `must be in the future; it is ${new Date(now).toISOString()} now`;
      throw new KontrolError('invalid', 'The body is not valid', [{ path: 'expires', message }]);
    }
    const token = `kontrol_${randomBytes(32).toString('base64url')}`;
    return { token, info: await this.add(token, wanted, by) };
  }

  /** Adds a token whose text is given (the file `admin-token` of this machine). One at a time. */
  add(token: string, wanted: NewToken, by: string): Promise<TokenInfo> {
    const added = this.#adding.then(() => this.#add(token, wanted, by));
    this.#adding = added.catch(() => {});
    return added;
  }

  /** Of two kontrolapi that take one name at the same moment at most one keeps it: each looks again afterwards. */
  async #add(token: string, wanted: NewToken, by: string): Promise<TokenInfo> {
    const id = sha256(token).toString('hex');
    await this.#refuseTaken(wanted.name, id);
    const fields = { ...wanted, created: this.#clock.now(), createdBy: by, lastUsed: null };
    const inserted = await this.#live.insert('tokens', id, fields);
    try {
      if (inserted) await this.#refuseTaken(wanted.name, id);
    } catch (error) {
      await this.#live.delete('tokens', id);
      throw error;
    }
    this.#remembered.forget(id);
    return readToken({ _id: id, v: 1, ...fields }, fields.created) as TokenInfo;
  }

  async #refuseTaken(name: string, id: string): Promise<void> {
    const present = await this.#live.list('tokens');
    if (present.some((document) => document.name === name && document._id !== id)) {
      throw new KontrolError(
        'conflict',
        `There is a token ${name} already; delete it or choose another name`,
      );
    }
  }

  /** False when there is no such token. */
  async remove(name: string): Promise<boolean> {
    let removed = false;
    for (const document of await this.#live.list('tokens')) {
      if (document.name !== name) continue;
      removed = (await this.#live.delete('tokens', document._id)) || removed;
      this.#remembered.forget(document._id);
    }
    return removed;
  }

  preload(): Promise<void> {
    return this.#remembered.preload();
  }

  /** Writes down when tokens were last used. What cannot be written now is tried at the next call. */
  async writeUses(): Promise<void> {
    for (const [id, at] of [...this.#used]) {
      const document = await this.#live.get('tokens', id);
      if (
        document !== null &&
        (typeof document.lastUsed !== 'number' || at - document.lastUsed >= LAST_USED_MS)
      ) {
        const { _id, v, ...fields } = document;
        await this.#live.replace('tokens', _id, v, { ...fields, lastUsed: at });
      }
      if (this.#used.get(id) === at) this.#used.delete(id);
    }
  }

  #withUse(id: string, info: TokenInfo): TokenInfo {
    const used = this.#used.get(id);
    return used === undefined ? info : { ...info, lastUsed: new Date(used).toISOString() };
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Null for a document that is not a token of ours (edited by hand): it opens nothing. */
function readToken(document: LiveDocument, now: number): TokenInfo | null {
  const { name, role, service, created, createdBy, expires, lastUsed } = document;
  if (typeof name !== 'string' || !ROLES.includes(role as Role)) return null;
  if (expires !== null && expires !== undefined && typeof expires !== 'number') return null;
  return {
    name,
    role: role as Role,
    service: typeof service === 'string' ? service : null,
    created: isoTime(created) ?? '',
    createdBy: typeof createdBy === 'string' ? createdBy : '',
    expires: isoTime(expires),
    expired: typeof expires === 'number' && expires <= now,
    lastUsed: isoTime(lastUsed),
  };
}

function isoTime(value: unknown): string | null {
  return typeof value === 'number' && Math.abs(value) < 8.64e15 ? new Date(value).toISOString() : null;
}
