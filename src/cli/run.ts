#!/usr/bin/env node
/** What `make run` runs: a chain of servers in this process and a prompt connected to it. */
import { parseArgs } from 'node:util';
import { CatenaError } from '../errors.js';
import { startEmbeddedCluster } from '../server/embedded.js';
import { runEmbeddedShell } from './client/embedded-shell.js';
import { exitCodes } from './client/exit-codes.js';
import { shownText } from './client/words.js';

const help = `Usage: node dist/src/cli/run.js [--servers N] [--port P] [--data DIR]
       make run ARGS='--port 6000'

A chain of N (3) servers in one process, on ports P (5000) and up of 127.0.0.1, and a prompt
connected to it; data is kept in DIR (catena-data/embedded). Commands may also be piped in.
`;

async function run(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(help);
    return exitCodes.done;
  }
  const { servers, basePort, dataPath } = options;
  const interrupt = new AbortController();
  // At the prompt Ctrl-C is a key, not a signal.
  process.once('SIGINT', () => interrupt.abort(new Error('SIGINT')));
  process.once('SIGTERM', () => process.stdin.destroy());
  return runEmbeddedShell({
    startChain: (onLine) => startEmbeddedCluster({ servers, basePort, dataPath, onLine }),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    interrupted: interrupt.signal,
  });
}

function optionsOf(args: string[]) {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: { servers: text, port: text, data: text, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) return 'help';
  const servers = numberOf('--servers', values.servers ?? '3', 16);
  const basePort = numberOf('--port', values.port ?? '5000', 65_536 - servers);
  return { servers, basePort, dataPath: values.data ?? 'catena-data/embedded' };
}

function numberOf(name: string, text: string, max: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= max) return number;
  throw new TypeError(`${name} takes a number from 1 to ${max}, not '${text}'`);
}

/** The reason in one line, and for a port that is taken the way out. */
function explained(error: Error): string {
  const causes = [error, error.cause].filter((each) => each instanceof Error);
  const isTaken = causes.some((each) => 'code' in each && each.code === 'EADDRINUSE');
  if (!isTaken && !error.message.includes('EADDRINUSE')) return error.message;
  return `${error.message}\nThe port is taken. Choose others: make run ARGS='--port 6000'`;
}

try {
  process.exitCode = await run();
} catch (error) {
  if (!(error instanceof Error)) throw error;
  const isUsage = error instanceof TypeError;
  if (!isUsage && !(error instanceof CatenaError) && !('code' in error)) throw error;
  process.stderr.write(`${explained(error).split('\n').map(shownText).join('\n')}\n`);
  process.exitCode = isUsage ? exitCodes.usage : exitCodes.unavailable;
}
