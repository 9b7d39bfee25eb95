/** `/v1/services/{service}/keys/{key}/backends`: one backend of a service at a time, for deploy scripts. */
import { KontrolError } from '../../shared/errors.ts';
import { formatEndpoint, parseEndpoint } from '../../shared/model/fields.ts';
import {
  backendSchema,
  type ConfiguredBackend,
  type Key,
  keyNumber,
  type Service,
} from '../../shared/model/service.ts';
import { CHANGERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Call, type Operation, operation, operationWithBody } from '../http/operation.ts';
import { type WriteQuery, writeQuery } from '../http/query.ts';
import { sameDocument } from '../revisions/difference.ts';
import type { Doc, Held } from '../revisions/view.ts';
import { noSuch, presentName } from './kind-names.ts';
import { writeCallOf, writeObject } from './objects.ts';

const COLLECTION = '/v1/services/{service}/keys/{key}/backends';
const ONE = `${COLLECTION}/{address}`;
const changeSchema = backendSchema.omit({ address: true });

type Backends = readonly ConfiguredBackend[];

export function backendOperations(context: ApiContext): Operation[] {
  return [
    operationWithBody(backendSchema, {
      method: 'POST',
      path: COLLECTION,
      summary: 'Add a backend to a key; the key is created if need be',
      access: CHANGERS,
      query: writeQuery,
      async handle(call) {
        const { body } = call;
        let added = false;
        const answer = await change(context, call, body.address, (backends) => {
          const present = backends.find((backend) => backend.address === body.address);
          added = present === undefined;
          if (present === undefined) return [...backends, body];
          if (sameDocument(present, body)) return backends;
          throw new KontrolError(
            'conflict',
            `The key has the backend ${body.address} already, with other values; change it with PATCH`,
          );
        });
        return added && answer.status === 200 ? { ...answer, status: 201 } : answer;
      },
    }),
    operationWithBody(changeSchema, {
      method: 'PATCH',
      path: ONE,
      summary: 'Change state, weight or tier of a backend',
      access: CHANGERS,
      query: writeQuery,
      handle(call) {
        const address = addressOf(call.params.address ?? '');
        return change(context, call, address, (backends) => {
          if (!backends.some((backend) => backend.address === address)) throw noBackend(address);
          return backends.map((backend) =>
            backend.address === address ? { ...backend, ...call.body } : backend,
          );
        });
      },
    }),
    operation({
      method: 'DELETE',
      path: ONE,
      summary: 'Remove a backend; the key stays',
      access: CHANGERS,
      query: writeQuery,
      handle(call) {
        const address = addressOf(call.params.address ?? '');
        return change(context, call, address, (backends) => {
          const rest = backends.filter((backend) => backend.address !== address);
          if (rest.length === backends.length) throw noBackend(address);
          return rest;
        });
      },
    }),
  ];
}

function change(
  context: ApiContext,
  call: Call<WriteQuery, unknown>,
  address: string,
  edit: (backends: Backends) => Backends,
) {
  const name = presentName('service', call.params.service ?? '');
  const key = call.params.key ?? '';
  if (!keyNumber.safeParse(key).success) {
    throw new KontrolError('invalid', undefined, [{ path: 'key', message: 'a key is a positive integer' }]);
  }
  return writeObject(
    context,
    'service',
    name,
    writeCallOf(call),
    (held) => withBackends(name, held, key, edit),
    (doc) => {
      const backends = (doc as unknown as Service).keys?.[key]?.backends ?? [];
      const backend = backends.find((each) => each.address === address);
      return { service: name, key: Number(key), ...(backend ?? { address }) };
    },
  );
}

function withBackends(
  name: string,
  held: Held | undefined,
  key: string,
  edit: (backends: Backends) => Backends,
): Doc {
  if (held === undefined) throw noSuch('service', name);
  const service = held.doc as unknown as Service;
  const present: Key = service.keys?.[key] ?? {};
  const backends = edit(present.backends ?? []);
  return { ...held.doc, keys: { ...service.keys, [key]: { ...present, backends } } };
}

function addressOf(text: string): string {
  const endpoint = parseEndpoint(text);
  if (endpoint === null) throw noBackend(text);
  return formatEndpoint(endpoint);
}

function noBackend(address: string): KontrolError {
  return new KontrolError('not_found', `The key has no backend ${address}`);
}
