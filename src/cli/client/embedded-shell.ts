/**
 * The prompt of `make run`: a chain in this process, a client of it, and two more commands that crash and
 * restart its servers. The chain is handed in.
 */
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { connect } from '../../client/connect.js';
import type { KvClient } from '../../client/kv-client.js';
import { BadRequestError, type CatenaError } from '../../errors.js';
import { clusterDefault } from '../../limits.js';
import type { View } from '../../protocol/messages.js';
import type { Command } from './command.js';
import { dataCommands } from './commands.js';
import { exitCodes, type ExitCode } from './exit-codes.js';
import { historyPath, loadHistory, saveHistory } from './history.js';
import { Output } from './output.js';
import { promptOf } from './prompt.js';
import { Repl } from './repl.js';
import { runScript } from './script.js';
import { Shell } from './shell.js';
import { shownText, textOf } from './words.js';

/** The part of an embedded cluster that is used here; servers are numbered from 1. */
export interface Chain {
  readonly addresses: readonly string[];
  kill(number: number): Promise<void>;
  start(number: number): Promise<void>;
  isRunning(number: number): boolean;
  stop(): Promise<void>;
}

export interface EmbeddedShellOptions {
  /** `onLine`: what the servers tell people. */
  readonly startChain: (onLine: (line: string) => void) => Promise<Chain>;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly env: NodeJS.ProcessEnv;
  readonly interrupted: AbortSignal;
}

/** `head`: the number of the server that is head now; on old data it may be any. */
function tourOf(head: number): string {
  return [
    'The first minute: crash the head of the chain, and see that nothing is lost:',
    '  put greeting hello   get greeting   chain',
    `  ${`.kill ${head}`.padEnd(20)} put greeting still here   get greeting   chain`,
    `  ${`.start ${head}`.padEnd(20)} chain   (server ${head} has come back as the tail)`,
  ].join('\n');
}

/** How long the prompt waits for all servers to be in the chain. */
const chainMs = 3_000;

/** Starts the chain, runs commands to the end of the input, stops the chain. */
export async function runEmbeddedShell(options: EmbeddedShellOptions): Promise<ExitCode> {
  const { stdin, stdout, stderr, interrupted } = options;
  const output = new Output({ stream: stdout, isTerminal: stdout.isTTY === true, isJson: false });
  const errors = new Output({ stream: stderr, isTerminal: true, isJson: false });
  const isInteractive = stdin.isTTY === true;
  let print = (line: string): void => {
    // Results alone go to a pipe.
    (isInteractive ? output : errors).line(line);
  };
  const chain = await options.startChain((line) => print(`· ${shownText(line)}`));
  const complete = new AbortController();
  const onView = (view: View): void => {
    if (view.members.length === chain.addresses.length) complete.abort();
  };
  const client = await connect({ servers: chain.addresses, lazy: true, onView });
  try {
    await client.ready().catch((error: CatenaError) => errors.line(error.message));
    // A newcomer shall see the whole chain; one that is not complete serves all the same.
    if (!complete.signal.aborted) {
      await once(complete.signal, 'abort', { signal: AbortSignal.timeout(chainMs) }).catch(
        () => {},
      );
    }
    const shell = new Shell({
      commands: [...dataCommands, ...chainCommands(chain)],
      client,
      cluster: clusterDefault,
      output,
      ...(stderr.isTTY === true ? { terminal: stderr } : {}),
      errors,
      isOneOfMany: true,
      helpFooter: () => tourOf(headOf(client.currentView, chain)),
    });
    if (!isInteractive) {
      await runScript(shell, stdin, interrupted);
      return exitCodes.done;
    }
    const tour = tourOf(headOf(client.currentView, chain));
    output.line(`\n${tour}\n\nhelp lists the commands, Ctrl-D ends; the data stays.\n`);
    const repl = replOf(shell, chain, client, options);
    print = (line) => {
      repl.printAbove(line);
      // The client hears of a change by itself only while it is connected to a server that lives.
      client.view({ timeoutMs: 2_000 }).then(
        () => repl.refreshPrompt(),
        () => {},
      );
    };
    await repl.run();
    return exitCodes.done;
  } finally {
    print = () => {};
    await client.close();
    await chain.stop();
    await output.flushed();
  }
}

/** Its number; 1 as long as nobody has told. */
function headOf(view: View | undefined, chain: Chain): number {
  return Math.max(chain.addresses.indexOf(view?.members[0]?.address ?? ''), 0) + 1;
}

function replOf(shell: Shell, chain: Chain, client: KvClient, options: EmbeddedShellOptions): Repl {
  const { stdin, stdout, env } = options;
  const nameOf = (address: string): string => {
    const index = chain.addresses.indexOf(address);
    return index < 0 ? address : `${index + 1}`;
  };
  const numbers = chain.addresses.map((_, index) => index + 1);
  const path = historyPath(env);
  return new Repl({
    shell,
    input: stdin,
    output: stdout,
    prompt: () => {
      const dead = numbers.filter((number) => !chain.isRunning(number)).map(String);
      return promptOf(client.currentView, nameOf, dead);
    },
    history: loadHistory(path),
    onHistory: (lines) => saveHistory(path, lines),
  });
}

function chainCommands(chain: Chain): Command[] {
  const count = chain.addresses.length;
  return [
    {
      name: '.kill',
      operands: ['number'],
      summary: `crash a server (1 to ${count})`,
      details: 'As kill -9 does: nothing is flushed, said or left. Its data stays.',
      example: '.kill 1',
      async run({ operands: [operand] }, { output }) {
        const number = numberOf(operand as Uint8Array);
        if (!chain.isRunning(number)) throw new BadRequestError(`server ${number} does not run`);
        await chain.kill(number);
        output.line(`server ${number} is dead`);
        return exitCodes.done;
      },
    },
    {
      name: '.start',
      operands: ['number'],
      summary: `start a crashed server again (1 to ${count})`,
      details: 'It comes back with its data, catches up, and joins the chain as its tail.',
      example: '.start 1',
      async run({ operands: [operand] }, { output }) {
        const number = numberOf(operand as Uint8Array);
        if (chain.isRunning(number)) throw new BadRequestError(`server ${number} runs already`);
        await chain.start(number);
        output.line(`server ${number} is up`);
        return exitCodes.done;
      },
    },
  ];

  function numberOf(operand: Uint8Array): number {
    const number = Number(textOf(operand));
    if (Number.isInteger(number) && number >= 1 && number <= count) return number;
    throw new BadRequestError(`give the number of a server, 1 to ${count}`);
  }
}
