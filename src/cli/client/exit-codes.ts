/** How a command ended, as an exit code, and what is said about it. Pure. */
import { CatenaError, type ErrorCode, OutcomeUnknownError } from '../../errors.js';

/** The higher the worse: many commands end with the highest of theirs. */
export const exitCodes = {
  done: 0,
  absent: 1,
  usage: 2,
  unavailable: 3,
  outcomeUnknown: 4,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The same command would fail again. */
const usageErrors: ReadonlySet<ErrorCode> = new Set([
  'BAD_REQUEST',
  'LIMIT_EXCEEDED',
  'WRONG_CLUSTER',
]);

/** Errors of the programmer are no outcome: they are thrown again. */
export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof CatenaError)) throw error;
  if (usageErrors.has(error.code)) return exitCodes.usage;
  return error.code === 'OUTCOME_UNKNOWN' ? exitCodes.outcomeUnknown : exitCodes.unavailable;
}

export function worse(one: ExitCode, other: ExitCode): ExitCode {
  return one > other ? one : other;
}

/** One line for people: what happened, and for an unknown outcome how to find it out. */
export function explain(error: CatenaError): string {
  if (!(error instanceof OutcomeUnknownError)) return error.message;
  const way =
    error.opId === undefined
      ? 'read the key to see whether it was written'
      : `find out with: verify ${error.opId}`;
  return `outcome unknown: ${error.message}; ${way}`;
}

/** `line`: of piped commands, where it happened. */
export function jsonOfError(error: CatenaError, line?: number): object {
  const opId = error instanceof OutcomeUnknownError ? error.opId : undefined;
  const { code, message } = error;
  const place = line === undefined ? {} : { line };
  return { error: { code, message, ...(opId === undefined ? {} : { opId }), ...place } };
}
