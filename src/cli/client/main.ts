/**
 * kv-client from its arguments to its exit code: one command, piped commands, or the prompt. The process
 * around it is handed in, so that tests run it whole.
 */
import { addAbortSignal, type Readable, type Writable } from 'node:stream';
import { connect } from '../../client/connect.js';
import type { KvClient } from '../../client/kv-client.js';
import { AbortedError, CatenaError, LimitError } from '../../errors.js';
import { valueBytesMax } from '../../limits.js';
import { releaseText } from '../release.js';
import { type ClientOptions, helpText, parseClientOptions } from './client-options.js';
import { dataCommands } from './commands.js';
import { exitCodeOf, exitCodes, explain, type ExitCode } from './exit-codes.js';
import { historyPath, loadHistory, saveHistory } from './history.js';
import { Output } from './output.js';
import { promptOf } from './prompt.js';
import { Repl } from './repl.js';
import { runScript } from './script.js';
import { Shell } from './shell.js';
import { shownText } from './words.js';

export interface ProcessParts {
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Ctrl-C, outside the prompt. */
  readonly interrupted: AbortSignal;
}

export async function runClient(parts: ProcessParts): Promise<ExitCode> {
  const errors = new Output({ stream: parts.stderr, isTerminal: true, isJson: false });
  let options: ClientOptions;
  try {
    options = parseClientOptions(parts.args, parts.env);
  } catch (error) {
    return failed(errors, error);
  }
  const isTerminal = parts.stdout.isTTY === true;
  const output = new Output({ stream: parts.stdout, isTerminal, isJson: options.isJson });
  const code = await runAction(options, parts, output, errors);
  await output.flushed();
  return code;
}

async function runAction(
  options: ClientOptions,
  parts: ProcessParts,
  output: Output,
  errors: Output,
): Promise<ExitCode> {
  if (options.action === 'help') output.write(helpText);
  if (options.action === 'version') output.line(releaseText());
  if (options.action !== 'run') return exitCodes.done;
  const { timeoutMs, cluster, servers, zookeeper } = options;
  let repl: Repl | undefined;
  const common = { timeoutMs, cluster, lazy: true, onView: () => repl?.refreshPrompt() };
  let client: KvClient;
  try {
    const registered = showsServers(options.command);
    const where = servers.length > 0 ? { servers } : { zookeeper, registered };
    client = await connect({ ...common, ...where });
  } catch (error) {
    return failed(errors, error);
  }
  try {
    const isOneOfMany = options.command.length === 0;
    const { stdin, stderr, interrupted } = parts;
    const shell = new Shell({
      commands: dataCommands,
      client,
      cluster,
      output,
      ...(stderr.isTTY === true ? { terminal: stderr } : {}),
      errors,
      isOneOfMany,
    });
    if (!isOneOfMany) {
      const { command, commandOptions, isEscaped } = options;
      const how = { ...commandOptions, isEscaped };
      return await shell.runArguments(command, how, () => valueOf(stdin, interrupted), interrupted);
    }
    if (stdin.isTTY !== true) return await runScript(shell, stdin, interrupted);
    await client.ready().catch((error: CatenaError) => shell.report(error));
    repl = replOf(shell, client, parts);
    await repl.run();
    return exitCodes.done;
  } catch (error) {
    return failed(errors, error);
  } finally {
    await client.close();
  }
}

function replOf(shell: Shell, client: KvClient, { stdin, stdout, env }: ProcessParts): Repl {
  const path = historyPath(env);
  stdout.write('Type help for the commands, Ctrl-D to quit.\n');
  return new Repl({
    shell,
    input: stdin,
    output: stdout,
    prompt: () => promptOf(client.currentView),
    history: loadHistory(path),
    onHistory: (lines) => saveHistory(path, lines),
  });
}

/** All of standard input. Throws LimitError as soon as it is too much. */
async function valueOf(stdin: Readable, signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  addAbortSignal(signal, stdin);
  try {
    for await (const chunk of stdin as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > valueBytesMax) {
        throw new LimitError('the value', 'more than that', valueBytesMax, 'bytes');
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new AbortedError('interrupted while reading the value; nothing was sent', {
      cause: error,
    });
  }
  return Buffer.concat(chunks, bytes);
}

/** Whether it takes to know of servers outside the chain too; lines to come may ask for them. */
function showsServers([command]: readonly string[]): boolean {
  return command === undefined || command === 'chain' || command === 'stats';
}

function failed(errors: Output, error: unknown): ExitCode {
  const code = exitCodeOf(error);
  const text = error instanceof CatenaError ? explain(error) : String(error);
  errors.line(`kv-client: ${shownText(text)}`);
  if (code === exitCodes.usage) errors.line("Try 'kv-client --help'.");
  return code;
}
