/** Assertions that stay on in production: a server that breaks an invariant halts, it never answers (P8). */
import { InvariantError } from '../errors.js';

/** Throws InvariantError naming the broken rule unless `condition` holds. */
export function invariant(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new InvariantError(rule);
}
