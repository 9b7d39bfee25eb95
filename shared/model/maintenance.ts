/** Maintenance: on, off, or from–until, with ways past it. The same shape in settings, domains and routes. */
import { z } from 'zod';
import { cookieName, fieldName, fieldValue } from './fields.ts';
import { addressOrCidr } from './rule.ts';

const moment = z.iso.datetime({
  offset: true,
  message: 'expected an ISO 8601 time with its offset, like 2026-03-01T02:00:00Z',
});

const schedule = z
  .strictObject({
    from: moment.nullable().optional(),
    until: moment.nullable().optional(),
    bypass: z
      .strictObject({
        addresses: z.array(addressOrCidr).max(1_000).optional(),
        cookie: z.strictObject({ name: cookieName(), value: fieldValue() }).optional(),
        header: z.strictObject({ name: fieldName(), value: fieldValue() }).optional(),
      })
      .optional(),
  })
  .refine(({ from, until }) => !from || !until || Date.parse(from) <= Date.parse(until), {
    path: ['until'],
    message: 'it ends before it begins',
  });

export const maintenanceField = z.union([z.boolean(), schedule]);
export type Maintenance = z.output<typeof maintenanceField>;
