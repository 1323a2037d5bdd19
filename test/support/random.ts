/** Drawn numbers that one seed repeats: the simulator's generator, as a function. */
import { Random as Generator } from '../../src/simulation/random.js';

/** A whole number from 0 to below `limit`. */
export type Random = (limit: number) => number;

export function randomFrom(seed: number): Random {
  const generator = new Generator(seed);
  return (limit) => generator.below(limit);
}

/** The same numbers in another order. */
export function shuffled<Item>(random: Random, items: readonly Item[]): Item[] {
  const rest = [...items];
  const order: Item[] = [];
  while (rest.length > 0) order.push(...rest.splice(random(rest.length), 1));
  return order;
}
