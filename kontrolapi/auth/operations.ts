/** `/v1/session`, `/v1/users`, `/v1/tokens`. */
import { z } from 'zod';
import { KontrolError } from '../../shared/errors.ts';
import { objectName } from '../../shared/model/fields.ts';
import { type Operation, operation, operationWithBody } from '../http/operation.ts';
import type { Auth } from './auth.ts';
import { ADMINS, ANY_ROLE, ROLES } from './caller.ts';
import { csrfOf, sessionIdOf } from './sessions.ts';
import { USER_ROLES } from './users.ts';

const userName = z
  .string()
  .transform((text) => text.trim().toLowerCase())
  .refine((text) => /^[a-z0-9][a-z0-9._@-]{0,63}$/.test(text), 'a user has 1 to 64 of a-z 0-9 . _ @ -');
const password = z
  .string()
  .min(10, 'a password has at least 10 characters')
  .max(1_024)
  .describe('at least 10 characters');

const loginBody = z.strictObject({ user: z.string().max(64), password: z.string().max(1_024) });
const userBody = z.strictObject({
  name: userName.optional(),
  role: z.enum(USER_ROLES).optional(),
  password: password.optional(),
});
const tokenBody = z.strictObject({
  name: objectName(),
  role: z.enum(ROLES),
  service: objectName()
    .nullable()
    .optional()
    .describe('role worker only: the one service it may register for; default any'),
  expires: z.iso
    .datetime({ offset: true })
    .nullable()
    .optional()
    .describe('a time in the future; default never'),
});

export function authOperations(auth: Auth): Operation[] {
  return [...sessionOperations(auth), ...userOperations(auth), ...tokenOperations(auth)];
}

function sessionOperations(auth: Auth): Operation[] {
  return [
    operationWithBody(loginBody, {
      method: 'POST',
      path: '/v1/session',
      summary: 'Log in; sets the session cookie and answers the CSRF token',
      access: 'public',
      async handle({ body, address }) {
        const name = body.user.trim().toLowerCase();
        const user = await auth.logIn(name, body.password, address, 'User or password is wrong');
        const { cookie, csrf } = await auth.sessions.start(user);
        return { headers: { 'Set-Cookie': cookie }, body: { user: user.name, role: user.role, csrf } };
      },
    }),
    operation({
      method: 'GET',
      path: '/v1/session',
      summary: 'Who is calling; for a session also its CSRF token',
      access: ANY_ROLE,
      handle({ caller, headers }) {
        const session = caller.user === null ? null : sessionIdOf(headers.cookie);
        return {
          body: {
            user: caller.user ?? caller.name,
            role: caller.role,
            service: caller.service,
            csrf: session === null ? null : csrfOf(session),
          },
        };
      },
    }),
    operation({
      method: 'DELETE',
      path: '/v1/session',
      summary: 'Log out',
      access: ANY_ROLE,
      async handle({ caller, address, headers }) {
        auth.audit.note('logout', { by: caller.name, address });
        return {
          status: 204,
          headers: { 'Set-Cookie': await auth.sessions.end(sessionIdOf(headers.cookie)) },
        };
      },
    }),
    operationWithBody(z.strictObject({ password: z.string().max(1_024), newPassword: password }), {
      method: 'POST',
      path: '/v1/session/password',
      summary: 'Change the own password; ends all sessions of the user but starts a new one',
      access: ANY_ROLE,
      async handle({ caller, body, address }) {
        if (caller.user === null)
          throw new KontrolError('forbidden', 'A token has no password; log in as a user');
        const user = await auth.logIn(caller.user, body.password, address, 'The present password is wrong');
        await auth.users.change(user.name, { password: body.newPassword });
        auth.audit.note('password_changed', { by: user.name, address });
        const changed = await auth.users.get(user.name);
        if (changed === null) throw new KontrolError('not_found', 'The user was removed meanwhile');
        const { cookie, csrf } = await auth.sessions.start(changed);
        return { headers: { 'Set-Cookie': cookie }, body: { user: changed.name, role: changed.role, csrf } };
      },
    }),
  ];
}

function userOperations(auth: Auth): Operation[] {
  const show = async (name: string) => {
    const user = await auth.users.get(name);
    if (user === null) throw new KontrolError('not_found', `There is no user ${name}`);
    return { name: user.name, role: user.role, created: user.created };
  };
  return [
    operation({
      method: 'GET',
      path: '/v1/users',
      summary: 'All users',
      access: ADMINS,
      async handle() {
        const items = (await auth.users.list()).map(({ name, role, created }) => ({ name, role, created }));
        return { body: { items, next: null } };
      },
    }),
    operation({
      method: 'GET',
      path: '/v1/users/{name}',
      summary: 'One user',
      access: ADMINS,
      handle: async ({ params }) => ({ body: await show(pathName(params)) }),
    }),
    operationWithBody(userBody, {
      method: 'PUT',
      path: '/v1/users/{name}',
      summary: 'Create a user (role and password needed) or change one',
      access: ADMINS,
      async handle({ params, body, caller, address }) {
        const name = userNameOf(pathName(params), body.name);
        const done = { by: caller.name, address, subject: name };
        if (body.role !== undefined && body.password !== undefined) {
          const created = await auth.users.create(name, body.role, body.password);
          if (created) {
            auth.audit.note('user_created', done);
            return { status: 201, body: await show(name) };
          }
        } else if ((await auth.users.get(name)) === null) {
          throw new KontrolError('invalid', 'A new user needs role and password', [
            { path: body.role === undefined ? 'role' : 'password', message: 'needed for a new user' },
          ]);
        }
        await auth.users.change(name, body);
        auth.audit.note('user_changed', done);
        return { body: await show(name) };
      },
    }),
    operationWithBody(userBody, {
      method: 'PATCH',
      path: '/v1/users/{name}',
      summary: 'Change role or password of a user',
      access: ADMINS,
      async handle({ params, body, caller, address }) {
        const name = userNameOf(pathName(params), body.name);
        await auth.users.change(name, body);
        auth.audit.note('user_changed', { by: caller.name, address, subject: name });
        return { body: await show(name) };
      },
    }),
    operation({
      method: 'DELETE',
      path: '/v1/users/{name}',
      summary: 'Remove a user; ends all its sessions',
      access: ADMINS,
      async handle({ params, caller, address }) {
        const name = pathName(params);
        if (!(await auth.users.remove(name))) throw new KontrolError('not_found', `There is no user ${name}`);
        auth.audit.note('user_removed', { by: caller.name, address, subject: name });
        return { status: 204 };
      },
    }),
  ];
}

function tokenOperations(auth: Auth): Operation[] {
  return [
    operation({
      method: 'GET',
      path: '/v1/tokens',
      summary: 'All tokens, without their text',
      access: ADMINS,
      async handle() {
        return { body: { items: await auth.tokens.list(), next: null } };
      },
    }),
    operationWithBody(tokenBody, {
      method: 'POST',
      path: '/v1/tokens',
      summary: 'Create a token; its text is in this answer and never again',
      access: ADMINS,
      async handle({ body, caller, address }) {
        const service = body.service ?? null;
        if (service !== null && body.role !== 'worker') {
          throw new KontrolError('invalid', 'The body is not valid', [
            { path: 'service', message: 'only a worker token is bound to a service' },
          ]);
        }
        const expires = body.expires == null ? null : Date.parse(body.expires);
        const { token, info } = await auth.tokens.create(
          { name: body.name, role: body.role, service, expires },
          caller.name,
        );
        auth.audit.note('token_created', { by: caller.name, address, subject: info.name });
        return { status: 201, body: { token, ...info } };
      },
    }),
    operation({
      method: 'DELETE',
      path: '/v1/tokens/{name}',
      summary: 'Revoke a token',
      access: ADMINS,
      async handle({ params, caller, address }) {
        const name = pathName(params);
        if (!(await auth.tokens.remove(name)))
          throw new KontrolError('not_found', `There is no token ${name}`);
        auth.audit.note('token_revoked', { by: caller.name, address, subject: name });
        return { status: 204 };
      },
    }),
  ];
}

function pathName(params: Readonly<Record<string, string>>): string {
  return (params.name ?? '').trim().toLowerCase();
}

function userNameOf(fromPath: string, fromBody: string | undefined): string {
  if (fromBody !== undefined && fromBody !== fromPath) {
    throw new KontrolError('invalid', 'The body is not valid', [
      { path: 'name', message: `the path names ${fromPath}; leave the name out or make it the same` },
    ]);
  }
  const parsed = userName.safeParse(fromPath);
  if (parsed.success) return parsed.data;
  throw new KontrolError('invalid', 'The user name is not valid', [
    { path: 'name', message: parsed.error.issues[0]?.message ?? '' },
  ]);
}
