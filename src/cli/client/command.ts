/** What a command of kv-client is, and what it is given to run with. */
import type { KvClient } from '../../client/kv-client.js';
import type { ExitCode } from './exit-codes.js';
import type { Invocation, Syntax } from './invocation.js';
import type { Output } from './output.js';
import type { ProgressStream } from './progress.js';

export interface CommandContext {
  readonly client: KvClient;
  /** The name of the cluster. */
  readonly cluster: string;
  readonly output: Output;
  /** Where progress can be shown while the command runs; absent: nowhere. */
  readonly terminal?: ProgressStream | undefined;
  /** The command ends early with it. */
  readonly signal: AbortSignal;
  /** Results of several commands follow each other, so a value ends with a line end. */
  readonly isOneOfMany: boolean;
}

export interface Command extends Syntax {
  readonly summary: string;
  /** What else there is to know; a line or more. */
  readonly details?: string;
  readonly example: string;
  run(invocation: Invocation, context: CommandContext): Promise<ExitCode>;
}
