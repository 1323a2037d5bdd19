/** What a checker found wrong: a line for people, and the ops that it is about for the timeline. */
import { type HistoryOp, keyOf, type LoggedOp, type OpId, type Operation } from './history.js';

export interface Finding {
  readonly line: string;
  readonly ops: readonly HistoryOp[];
}

/** More of them say nothing new. */
export const findingsMax = 100;

export function showId({ epoch, seq }: OpId): string {
  return `${epoch === 0 && seq > 0 ? '?' : epoch}-${seq}`;
}

export function showOp(op: HistoryOp): string {
  const { client, startMs, endMs, outcome, at, answer } = op;
  const id = at === undefined ? '' : ` at ${showId(at)}`;
  const result = outcome === 'ok' ? ` -> ${showAnswer(answer)}` : ` ${outcome}`;
  const span = `${startMs.toFixed(3)}..${endMs.toFixed(3)}`;
  return `[client ${client} ${showOperation(op)}${result}${id}, ${span} ms]`;
}

export function showLogged({ at, op }: LoggedOp): string {
  return `[op ${showId(at)} ${op.kind === 'epoch' ? 'epoch' : showOperation(op)}]`;
}

/** Kind, key and arguments. */
export function showOperation(op: Operation): string {
  const key = keyOf(op);
  const given = argumentsOf(op)
    .filter(([name]) => name !== 'key')
    .map(([name, value]) => `${name}=${shortened(JSON.stringify(value))}`);
  return [op.kind, ...(key === undefined ? [] : [shortened(key)]), ...given].join(' ');
}

export function showAnswer(answer: unknown): string {
  return answer === undefined ? 'done' : shortened(JSON.stringify(answer));
}

export function isSameOperation(one: Operation, other: Operation): boolean {
  // What long histories mostly consist of.
  if (one.kind === 'put' && other.kind === 'put') {
    return one.key === other.key && one.value === other.value && one.version === other.version;
  }
  return one.kind === other.kind && identityOf(one) === identityOf(other);
}

/** Equal for ops that ask for the same: kind and all arguments. */
export function identityOf(op: Operation): string {
  return JSON.stringify([op.kind, ...argumentsOf(op)]);
}

function argumentsOf(op: Operation): [string, unknown][] {
  switch (op.kind) {
    case 'put':
      return given({ key: op.key, value: op.value, version: op.version });
    case 'delete':
      return given({ key: op.key, version: op.version });
    case 'get':
    case 'length':
      return given({ key: op.key });
    case 'add':
      return given({ key: op.key, delta: op.delta });
    case 'push': {
      const { key, side, elements, lengthMax } = op;
      return given({ key, side, elements, lengthMax });
    }
    case 'pop':
      return given({ key: op.key, side: op.side, count: op.count });
    case 'range':
    case 'trim':
      return given({ key: op.key, from: op.from, to: op.to });
    case 'size':
    case 'scan':
      return [];
  }
}

function given(fields: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.entries(fields).filter(([, value]) => value !== undefined);
}

const textMax = 120;

function shortened(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax)}… (${text.length} characters)`;
}
