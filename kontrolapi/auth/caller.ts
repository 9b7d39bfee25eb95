/** Who makes a call and what each role may do. */

/** `viewer` reads, `operator` changes, `admin` also users and tokens, `worker` registers workers of one service. */
export const ROLES = ['viewer', 'operator', 'admin', 'worker'] as const;
export type Role = (typeof ROLES)[number];

export interface Caller {
  /** What revisions carry as their author: a user's name, or `token/<name>`. */
  readonly name: string;
  readonly role: Role;
  /** The one service a `worker` token may register for; null for any. */
  readonly service: string | null;
  /** The user behind a session; null for tokens. */
  readonly user: string | null;
}

/** Who may make a call: a list of roles, or `public` for calls without any credentials. */
export type Access = readonly Role[] | 'public';

export const READERS: Access = ['viewer', 'operator', 'admin'];
export const CHANGERS: Access = ['operator', 'admin'];
export const ADMINS: Access = ['admin'];
/** Calls of workers; people who may change things may make them too. */
export const WORKERS: Access = ['worker', 'operator', 'admin'];
/** Everyone who has proved who they are. */
export const ANY_ROLE: Access = ROLES;

export const ANONYMOUS: Caller = { name: 'anonymous', role: 'viewer', service: null, user: null };
