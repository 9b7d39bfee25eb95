/** People who log in: a name, a role, a password. A change of password or a removal ends their sessions. */
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { isId } from '../../shared/store/tables.ts';
import { ROLES, type Role } from './caller.ts';
import { checkPassword, hashPassword, readPasswordHash } from './passwords.ts';
import { Remembered } from './remembered.ts';

/** Roles a person can have; `worker` is for tokens. */
export const USER_ROLES = ['viewer', 'operator', 'admin'] as const;

export interface User {
  readonly name: string;
  readonly role: Role;
  /** Changes with the password; a session carries the one it was made under. */
  readonly epoch: number;
  readonly created: string;
}

const MAX_ATTEMPTS = 5;

export class Users {
  readonly #live: LiveStore;
  readonly #clock: Clock;
  readonly #remembered: Remembered;

  constructor(live: LiveStore, clock: Clock) {
    this.#live = live;
    this.#clock = clock;
    this.#remembered = new Remembered(live, 'users', clock);
  }

  async get(name: string): Promise<User | null> {
    const document = await this.#remembered.get(name);
    return document === null ? null : readUser(document);
  }

  async list(): Promise<User[]> {
    return (await this.#live.list('users')).flatMap((document) => readUser(document) ?? []);
  }

  /** The user when the password is right, else null: with the same delay whether the user exists or not. */
  async logIn(name: string, password: string): Promise<User | null> {
    // What no user can be called is as wrong as a name that nobody has.
    const document = isId(name) ? await this.#live.get('users', name) : null;
    const kept = document === null ? null : readPasswordHash(document.password);
    const right = await checkPassword(password, kept);
    return right && document !== null ? readUser(document) : null;
  }

  /** False when the name is taken. */
  async create(name: string, role: Role, password: string): Promise<boolean> {
    const created = this.#clock.now();
    // The epoch is a time, so that a name used again does not revive the sessions of its former owner.
    const fields = { role, password: await hashPassword(password), epoch: created, created };
    const inserted = await this.#live.insert('users', name, fields);
    this.#remembered.forget(name);
    return inserted;
  }

  /**
   * Changes role or password. Throws `not_found`, or `conflict` when the last admin would lose that role.
   */
  async change(name: string, wanted: { role?: Role; password?: string }): Promise<void> {
    const password = wanted.password === undefined ? undefined : await hashPassword(wanted.password);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const document = await this.#live.get('users', name);
      if (document === null) throw new KontrolError('not_found', `There is no user ${name}`);
      if (wanted.role !== undefined && wanted.role !== 'admin') await this.#keepAnAdmin(name);
      const { _id, v, ...fields } = document;
      const epoch = typeof fields.epoch === 'number' ? fields.epoch : 0;
      const next = {
        ...fields,
        ...(wanted.role === undefined ? {} : { role: wanted.role }),
        ...(password === undefined ? {} : { password, epoch: epoch + 1 }),
      };
      const replaced = await this.#live.replace('users', _id, v, next);
      this.#remembered.forget(name);
      if (!replaced) continue;
      if (fields.role === 'admin' && next.role !== 'admin' && !(await this.#hasAdmin())) {
        await this.change(name, { role: 'admin' });
        throw lastAdmin(name);
      }
      return;
    }
    throw beingChanged(name);
  }

  /** False when there is no such user. Throws `conflict` for the last admin. */
  async remove(name: string): Promise<boolean> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      await this.#keepAnAdmin(name);
      const document = await this.#live.get('users', name);
      if (document === null) return false;
      // As it was read: one that became an admin meanwhile may be the last.
      const removed = await this.#live.delete('users', name, document.v);
      this.#remembered.forget(name);
      if (!removed) continue;
      if (document.role === 'admin' && !(await this.#hasAdmin())) {
        await this.#live.insert('users', name, document);
        this.#remembered.forget(name);
        throw lastAdmin(name);
      }
      return true;
    }
    throw beingChanged(name);
  }

  preload(): Promise<void> {
    return this.#remembered.preload();
  }

  /** Asked after an admin went: two that took each other's role away at the same time both saw another one before. */
  async #hasAdmin(): Promise<boolean> {
    return (await this.list()).some(({ role }) => role === 'admin');
  }

  async #keepAnAdmin(without: string): Promise<void> {
    const users = await this.list();
    const admin = (user: User) => user.role === 'admin';
    if (!users.some((user) => user.name === without && admin(user))) return;
    if (users.some((user) => user.name !== without && admin(user))) return;
    throw lastAdmin(without);
  }
}

function lastAdmin(name: string): KontrolError {
  return new KontrolError('conflict', `${name} is the last admin; make another user admin first`);
}

function beingChanged(name: string): KontrolError {
  return new KontrolError('conflict', `User ${name} is being changed by others; try again`);
}

function readUser(document: LiveDocument): User | null {
  const { _id, role, epoch, created } = document;
  if (!ROLES.includes(role as Role) || role === 'worker') return null;
  return {
    name: _id,
    role: role as Role,
    epoch: typeof epoch === 'number' ? epoch : 0,
    created: typeof created === 'number' ? new Date(created).toISOString() : '',
  };
}
