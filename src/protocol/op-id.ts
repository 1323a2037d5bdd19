/** Op ids as people and scripts see them: `epoch-seq`. */
import { BadRequestError } from '../errors.js';

export interface OpId {
  readonly epoch: number;
  readonly seq: number;
}

export function formatOpId({ epoch, seq }: OpId): string {
  return `${epoch}-${seq}`;
}

/** Throws BadRequestError unless `text` is `epoch-seq`, both positive safe integers. */
export function parseOpId(text: string): OpId {
  const match = /^(\d{1,16})-(\d{1,16})$/.exec(text);
  const epoch = Number(match?.[1]);
  const seq = Number(match?.[2]);
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(seq) || epoch < 1 || seq < 1) {
    throw new BadRequestError(`'${text}' is no op id; one looks like 3-1024 (epoch-seq)`);
  }
  return { epoch, seq };
}
