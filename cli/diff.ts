/** `kontrol diff -f FILE… --owner NAME`: what apply would change. */
import { applyFiles } from './apply.ts';

export function run(argv: readonly string[]): Promise<number> {
  return applyFiles('diff', 'Show what apply would change, field by field.', argv, true);
}
