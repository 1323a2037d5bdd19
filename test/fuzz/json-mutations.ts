/**
 * JSON that is nearly right: one or two of its values replaced, doubled, dropped, renamed or nested. Mutated bytes
 * of a text hardly ever parse; these do, and so reach the rules behind the parser.
 */
import type { Random } from '../support/random.js';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const depthMax = 5_000;
/** As texts: some of them no value of JavaScript would be printed as. */
const strangeTexts = [
  'null',
  'true',
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '[]',
  '{}',
  '[null]',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e308',
  '1e999',
  '9007199254740991',
  '9007199254740992',
  '2147483648',
  '4294967296',
  '1000000000',
  '1000000001',
  '2000000001',
  '{"__proto__":{"serverId":"p"}}',
  '"x"',
  '{"length":1}',
];
const hole = '\u0001hole\u0001';

/** The text of `value` with something wrong; drawn anew at each call. What is deep already is not made deeper. */
export function mutatedJson(value: unknown, random: Random): string {
  const copy = { root: isDeep(value as Json) ? null : (structuredClone(value) as Json) };
  let strange = strangeTexts[random(strangeTexts.length)] as string;
  if (random(50) === 0) strange = nestedText(random(2) === 0 ? 1 + random(20) : depthMax);
  for (let changes = 1 + random(2); changes > 0; changes--) change(copy, random);
  return JSON.stringify(copy.root ?? null).replace(JSON.stringify(hole), () => strange);
}

/** Deeper than anything that is written by this service, or by one change here. */
function isDeep(value: Json): boolean {
  let level: Json[] = [value];
  for (let depth = 0; depth < 100 && level.length > 0; depth++) {
    level = level.flatMap((each) =>
      typeof each === 'object' && each !== null ? Object.values(each) : [],
    );
  }
  return level.length > 0;
}

/** So deep that what calls itself for each level runs out of stack. */
function nestedText(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

function change(root: { [name: string]: Json }, random: Random): void {
  const places = placesIn(root);
  const [holder, name] = places[random(places.length)] as Place;
  const value = (holder as Record<string | number, Json>)[name] as Json;
  const [, , elsewhere] = places[random(places.length)] as Place;
  switch (random(7)) {
    case 0:
    case 1:
      set(holder, name, hole);
      break;
    case 2:
      set(holder, name, structuredClone(elsewhere));
      break;
    case 3:
      if (Array.isArray(holder)) holder.splice(Number(name), 1);
      else if (name !== 'root') delete holder[name];
      break;
    case 4:
      if (Array.isArray(holder)) holder.splice(Number(name), 0, structuredClone(value));
      else if (Array.isArray(value) && value.length > 0)
        value.push(structuredClone(value[0] as Json));
      else set(holder, name, [value]);
      break;
    case 5:
      if (typeof value === 'number') set(holder, name, value + (random(3) - 1) * 10 ** random(17));
      else if (typeof value === 'string') set(holder, name, value.slice(random(value.length + 1)));
      else set(holder, name, hole);
      break;
    default:
      if (!Array.isArray(holder)) holder[`${name}x`] = hole;
  }
}

type Place = readonly [
  holder: Json[] | { [name: string]: Json },
  name: string | number,
  value: Json,
];

function placesIn(holder: Json[] | { [name: string]: Json }): Place[] {
  const places: Place[] = [];
  for (const [name, value] of Object.entries(holder)) {
    places.push([holder, name, value]);
    if (typeof value === 'object' && value !== null) places.push(...placesIn(value));
  }
  return places;
}

function set(holder: Json[] | { [name: string]: Json }, name: string | number, value: Json): void {
  (holder as Record<string | number, Json>)[name] = value;
}
