/** `/v1/nodes`: the running proxies and what they say of themselves. */
import { z } from 'zod';
import { KontrolError } from '../../shared/errors.ts';
import { CHANGERS, READERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Operation, operation, operationWithBody } from '../http/operation.ts';

export function nodeOperations(context: ApiContext): Operation[] {
  return [
    operation({
      method: 'GET',
      path: '/v1/nodes',
      summary: 'All nodes with what they serve, their processes, quarantined objects and alarms',
      access: READERS,
      async handle() {
        const { nodes, present } = context;
        await present.fresh(context.clock);
        const items = (await nodes.list()).map(({ _id, v, ...record }) => ({
          ...record,
          behind: Math.max(0, present.seq - Number(record['seq'] ?? 0)),
        }));
        const { seq, hash } = present;
        return { body: { items, next: null, seq, hash, alarms: nodes.alarms } };
      },
    }),
    operationWithBody(z.strictObject({}), {
      method: 'POST',
      path: '/v1/nodes/confirm',
      summary: 'Deletions that nodes hold back because they look like an accident are meant',
      access: CHANGERS,
      bodyOptional: true,
      handle({ caller }) {
        context.log.info('deletions_confirmed', `${caller.name} confirmed the deletions that are held back`);
        context.bus.publish('kontrol:ask', { ask: 'confirm' });
        context.adoption.confirm();
        return { status: 202, body: { asked: true } };
      },
    }),
    // After the path above: `confirm` is no node.
    operation({
      method: 'DELETE',
      path: '/v1/nodes/{name}',
      summary: 'Forget a node that is gone for good; 409 while it lives',
      access: CHANGERS,
      async handle({ params, caller }) {
        const name = params.name ?? '';
        const node = (await context.nodes.list()).find((each) => each.name === name);
        if (node?.live === true)
          throw new KontrolError(
            'conflict',
            `Node ${name} lives; stop it first (one that was killed counts as live for 15 s)`,
          );
        if (node === undefined || !(await context.store.live.delete('nodes', name, node.v)))
          throw new KontrolError('not_found', `There is no node ${name}, or it has just said something`);
        context.log.info('node_forgotten', `${caller.name} removed the record of node ${name}`);
        return { status: 204 };
      },
    }),
  ];
}
