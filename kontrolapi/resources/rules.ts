/** What is special to firewall rules: changes that open or close more than their author may think. */
import type { Clock } from '../../shared/clock.ts';
import type { FieldProblem } from '../../shared/errors.ts';
import type { Rule } from '../../shared/model/rule.ts';
import type { KindRules } from './kind-rules.ts';

export function ruleRules(clock: Clock): KindRules {
  return {
    check(doc, draft, name) {
      const rule = doc as unknown as Rule;
      const users = draft.referrers('rule', name);
      const where = users.length === 0 ? null : `${users[0]?.kind} ${users[0]?.name}`;
      const warnings: FieldProblem[] = [];
      if (rule.list === 'whitelist' && where !== null && (rule.enabled === false || rule.dryRun === true)) {
        const path = rule.enabled === false ? 'enabled' : 'dryRun';
        const more = users.length > 1 ? ` and ${users.length - 1} more` : '';
        warnings.push({
          path,
          message: `the whitelist is in use by ${where}${more}, which it no longer protects`,
        });
      }
      if (rule.expires != null && Date.parse(rule.expires) <= clock.now()) {
        const effect = rule.list === 'whitelist' ? 'refuses everyone' : 'does nothing';
        warnings.push({ path: 'expires', message: `the rule has expired: it ${effect}` });
      }
      const listener = users.find(({ kind }) => kind === 'listener');
      const problems: FieldProblem[] =
        rule.type === 'rate' && listener !== undefined
          ? [
              {
                path: 'type',
                message: `listener ${listener.name} uses it, and a TCP listener has no requests`,
              },
            ]
          : [];
      return { problems, warnings };
    },
  };
}
