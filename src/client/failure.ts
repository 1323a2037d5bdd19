/**
 * What a server's `failure` means to a call: refused (certainly not executed, so it may be tried again), or
 * the end of the call with a typed error. Pure.
 */
import {
  BadRequestError,
  CatenaError,
  type ErrorCode,
  LastMemberError,
  LimitError,
  OutcomeUnknownError,
  UnavailableError,
} from '../errors.js';
import type { Failure } from '../protocol/messages.js';
import { formatOpId } from '../protocol/op-id.js';

/** The server did not execute the request; it, or another one, may do so later. */
export function isRefusal(failure: Failure): boolean {
  switch (failure.code) {
    case 'NOT_HEAD':
    case 'NOT_SERVING':
    case 'NOT_ENOUGH_REPLICAS':
    case 'UNAVAILABLE':
      return true;
    default:
      return false;
  }
}

/** The server will not talk to this client, now or later: the client was configured wrongly. */
export function isLastingRefusal(failure: Failure): boolean {
  return failure.code === 'WRONG_CLUSTER' || failure.code === 'BAD_REQUEST';
}

/**
 * The error with which a call ends. A code that is not known here says nothing about what a call with an effect
 * did. `opId`: of the write, where it was announced.
 */
export function errorOfFailure(failure: Failure, hasEffect: boolean, opId?: string): CatenaError {
  const { code, message } = failure;
  switch (code) {
    case 'BAD_REQUEST':
      return new BadRequestError(message);
    case 'LIMIT_EXCEEDED':
      return limitErrorOf(message);
    case 'UNAVAILABLE':
      return new UnavailableError(message);
    case 'LAST_MEMBER':
      return new LastMemberError(message);
    case 'NOT_HEAD':
    case 'NOT_SERVING':
    case 'NOT_ENOUGH_REPLICAS':
    case 'WRONG_CLUSTER':
      return new CatenaError(code satisfies ErrorCode, message);
    default: {
      if (!hasEffect) return new UnavailableError(`${code}: ${message}`);
      const text = code === 'OUTCOME_UNKNOWN' ? message : `${code}: ${message}`;
      return new OutcomeUnknownError(text, failure.opId ? formatOpId(failure.opId) : opId);
    }
  }
}

function limitErrorOf(message: string): CatenaError {
  const match = /^(.*) is (\d+) (.+), the limit is (\d+) /.exec(message);
  if (match === null) return new CatenaError('LIMIT_EXCEEDED', message);
  const [, what = '', actual, unit = '', limit] = match;
  return new LimitError(what, Number(actual), Number(limit), unit);
}
