/** `/v1/services/{service}/keys`: the builds of a service side by side, and which of them `latest` stands for now. */
import { KontrolError } from '../../shared/errors.ts';
import { SETTINGS_NAME } from '../../shared/model/kinds.ts';
import type { Members } from '../../shared/model/live.ts';
import type { Service } from '../../shared/model/service.ts';
import type { Settings } from '../../shared/model/settings.ts';
import { compileService } from '../../shared/routing/compile-service.ts';
import { READERS } from '../auth/caller.ts';
import { type Operation, operation } from '../http/operation.ts';
import type { Present } from '../revisions/present.ts';
import type { Membership } from './membership.ts';

export interface BuildsContext {
  readonly present: Pick<Present, 'state'>;
  readonly membership: Pick<Membership, 'refresh' | 'peek'>;
}

export function buildOperations({ present, membership }: BuildsContext): Operation[] {
  return [
    operation({
      method: 'GET',
      path: '/v1/services/{service}/keys',
      summary: 'Builds of a service with their backends by state, and the one that "latest" stands for',
      access: READERS,
      async handle({ params }) {
        const name = (params.service ?? '').toLowerCase();
        const service = present.state.get('service', name)?.doc as Service | undefined;
        if (service === undefined) throw new KontrolError('not_found', `There is no service ${name}`);
        await membership.refresh();
        const settings = present.state.get('settings', SETTINGS_NAME)?.doc as Settings | undefined;
        const { current, backends } = membership.peek(name);
        const members = { current, backends: [...backends] } as unknown as Members;
        // By the code that the data path uses: what is told here is what is routed.
        const compiled = compileService(service, members, settings?.timeouts, undefined);
        const items = [...compiled.keys.values()].map((key) => ({
          key: key.key,
          enabled: key.enabled,
          latest: key.key === compiled.latest,
          backends: countBy(key.backends.map(({ state }) => state)),
          starting: backends.filter((member) => member.key === key.key && member.state === 'starting').length,
        }));
        return { body: { service: name, latest: compiled.latest, items } };
      },
    }),
  ];
}

function countBy(states: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = { ready: 0, drain: 0, maintenance: 0, lost: 0 };
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}
