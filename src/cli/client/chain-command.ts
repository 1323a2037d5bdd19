/** `chain` and `stats`: what the servers say of themselves, once or (`chain --watch`) at each change. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type CatenaError, UnavailableError } from '../../errors.js';
import type { StatusOutcome } from '../../client/kv-client.js';
import { type Chain, chainOf, chainText, statsText, withoutCounters } from './chain-text.js';
import type { Command, CommandContext } from './command.js';
import { exitCodes, type ExitCode } from './exit-codes.js';

/** Between two looks at the servers. */
const watchMs = 500;
/** Of one look: a server that hangs must not hold up the picture of the others. */
const lookMs = 2_000;

export const chain: Command = {
  name: 'chain',
  operands: [],
  options: ['watch'],
  summary: 'print the chain: epoch, members, how far each is behind, who waits for whom',
  details: [
    'behind: ops that the head has and this server does not have on disk yet. lease: it may answer reads by itself.',
    'Servers outside the chain follow: what they wait for, or that they do not answer.',
    '--watch: on a terminal redraws it at each change; in a pipe prints it again when more than numbers changed.',
    'Exit code 3 if no chain serves; --watch ends with Ctrl-C and 0.',
  ].join('\n'),
  example: 'chain --watch',
  async run({ watch }, context) {
    if (watch === true) return watchChain(context);
    const { client, output, signal } = context;
    const found = chainOf(await client.statuses({ signal }), client.currentView);
    if (output.isJson) output.json(found);
    else output.line(chainText(found));
    return found.serves ? exitCodes.done : exitCodes.unavailable;
  },
};

export const stats: Command = {
  name: 'stats',
  operands: [],
  summary: 'print what each server has done and keeps: ops by kind, times, connections, disk',
  details: [
    'Times are from the arrival of a request at that server to its answer.',
    'state: the hash of the table; servers that applied as many ops must show the same one.',
  ].join('\n'),
  example: 'stats',
  async run(_invocation, { client, output, signal }) {
    const outcomes = await client.statuses({ signal });
    if (!output.isJson) output.line(statsText(outcomes));
    for (const outcome of output.isJson ? outcomes : []) {
      if ('status' in outcome) output.json({ ...outcome.status, address: outcome.address });
      else output.json({ address: outcome.address, error: outcome.error.message });
    }
    const isAnswered = outcomes.some((outcome) => 'status' in outcome);
    return isAnswered ? exitCodes.done : exitCodes.unavailable;
  },
};

/** Until it is interrupted, or nobody reads any more. */
async function watchChain({ client, output, signal }: CommandContext): Promise<ExitCode> {
  let shown: string | undefined;
  const show = (text: string, key: string, json: () => object): void => {
    if (output.isTerminal && !output.isJson) return output.block(text);
    if (key === shown) return;
    shown = key;
    const at = new Date().toISOString();
    if (output.isJson) output.json({ at, ...json() });
    else output.line(`${at} ${text}`);
  };
  try {
    while (!signal.aborted && !output.isGone) {
      const found = await look(client, signal);
      if (signal.aborted) break;
      if ('serves' in found) show(chainText(found), withoutCounters(found), () => found);
      else show(found.message, found.code, () => ({ error: found }));
      await output.drained();
      await sleep(watchMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    output.endBlock();
  }
  return exitCodes.done;
}

/** That nobody can be asked is no end of watching: they may come. */
async function look(
  client: CommandContext['client'],
  signal: AbortSignal,
): Promise<Chain | Pick<CatenaError, 'code' | 'message'>> {
  let outcomes: StatusOutcome[];
  try {
    outcomes = await client.statuses({ signal, timeoutMs: lookMs });
  } catch (error) {
    if (signal.aborted) return { code: 'ABORTED', message: '' };
    if (!(error instanceof UnavailableError)) throw error;
    return { code: error.code, message: error.message };
  }
  return chainOf(outcomes, client.currentView);
}
