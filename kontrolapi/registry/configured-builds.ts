/**
 * `latest: auto` never moves back by itself: the greatest build that had a ready backend is remembered. For builds of
 * workers their registration does that; this does it for backends that stand in the configuration.
 */
import type { Service } from '../../shared/model/service.ts';
import type { View } from '../revisions/view.ts';
import type { Membership } from './membership.ts';

/** The greatest enabled key with a ready backend in the document; null where nothing is to be remembered. */
export function greatestConfigured(service: Service): number | null {
  const keys = Object.entries(service.keys ?? {});
  // With one key there is nothing to move back to, and a document per service saved.
  if ((service.latest ?? 'auto') !== 'auto' || keys.length < 2) return null;
  const ready = keys.filter(
    ([, { enabled, backends = [] }]) =>
      enabled !== false && backends.some(({ state = 'ready' }) => state === 'ready'),
  );
  return ready.length === 0 ? null : Math.max(...ready.map(([key]) => Number(key)));
}

/** Remembers what is greater than what is remembered. Rejects like any call of the store. */
export async function rememberBuilds(
  view: View,
  membership: Pick<Membership, 'peek' | 'change'>,
): Promise<void> {
  for (const [name, { doc }] of view.entries('service')) {
    const key = greatestConfigured(doc as Service);
    if (key === null || key <= (membership.peek(name).current ?? 0)) continue;
    await membership.change(name, (draft) => {
      draft.current = Math.max(draft.current ?? 0, key);
    });
  }
}
