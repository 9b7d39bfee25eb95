/** A brand: templates for the answers the proxy makes itself. */
import { z } from 'zod';
import { commonFields, objectName } from './fields.ts';

export const PAGE_NAMES = [
  '404',
  '410',
  'maintenance',
  'inactive',
  'secure',
  'blocked',
  'limited',
  '502',
  '504',
  'error',
] as const;
export type PageName = (typeof PAGE_NAMES)[number];

const template = z.string().max(262_144);

export const pageSchema = z.strictObject({
  name: objectName(),
  templates: z.strictObject(
    Object.fromEntries(PAGE_NAMES.map((name) => [name, template.optional()])) as Record<
      PageName,
      z.ZodOptional<typeof template>
    >,
  ),
  ...commonFields,
});
export type Page = z.output<typeof pageSchema>;
