/** A TCP port with its own service, opened and closed at run time. */
import { z } from 'zod';
import { parseAddress } from '../address.ts';
import { commonFields, duration, hostPattern, mapOf, objectName } from './fields.ts';

export const listenerSchema = z.strictObject({
  name: objectName(),
  address: z
    .string()
    .transform((text, context) => {
      const address = text === '' ? '' : parseAddress(text);
      if (address !== null) return address;
      context.addIssue({ code: 'custom', message: 'expected an address of this machine, or "" for all' });
      return z.NEVER;
    })
    .optional()
    .describe('default all addresses'),
  port: z.number().int().min(1).max(65_535),
  service: objectName().optional(),
  firewall: z.array(objectName()).max(100).optional(),
  proxyProtocol: z
    .strictObject({
      in: z.boolean().optional().describe('require a PROXY header, from trusted proxies only; default false'),
      out: z
        .union([z.boolean(), z.literal(1), z.literal(2)])
        .optional()
        .describe('send a PROXY header of this version to the backend; true is 2; default false'),
    })
    .optional(),
  tls: z
    .literal('passthrough')
    .optional()
    .describe('TLS is not opened: only the name in its ClientHello is read'),
  hosts: mapOf(hostPattern(), objectName())
    .optional()
    .describe('services by that name; for others, and for none, the service of the listener'),
  idle: duration()
    .nullable()
    .optional()
    .describe('ends a connection without a byte for so long; default none, also 0'),
  ...commonFields,
});
export type Listener = z.output<typeof listenerSchema>;
