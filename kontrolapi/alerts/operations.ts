/** `/v1/alerts`: a test of everyone who would be told. */
import { z } from 'zod';
import { CHANGERS } from '../auth/caller.ts';
import { type Operation, operationWithBody } from '../http/operation.ts';
import type { AlertService } from './service.ts';

export function alertOperations(alerts: AlertService): Operation[] {
  return [
    operationWithBody(z.strictObject({}), {
      method: 'POST',
      path: '/v1/alerts/test',
      summary: 'Send a test alert to everyone in settings.alerts now; the answer says what became of each',
      access: CHANGERS,
      bodyOptional: true,
      async handle() {
        const items = await alerts.test();
        return { body: { items } };
      },
    }),
  ];
}
