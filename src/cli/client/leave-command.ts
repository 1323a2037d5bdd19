/** `leave`: takes one server out of the chain in good order, and ends it. */
import type { KvClient } from '../../client/kv-client.js';
import { CatenaError, OutcomeUnknownError } from '../../errors.js';
import { formatAddress, parseAddress } from '../../protocol/address.js';
import type { View } from '../../protocol/messages.js';
import type { Command } from './command.js';
import { exitCodes } from './exit-codes.js';
import { shownText, textOf } from './words.js';

/** How long the rest of the chain is waited for, to print it. */
const viewMs = 2_000;

export const leave: Command = {
  name: 'leave',
  operands: ['server'],
  options: ['force'],
  summary: 'have a server leave the chain in good order and end',
  details: [
    'It hands over what is under way, is written out of the chain, and its process ends with exit code 0; a spare',
    'just ends. The only member of the chain refuses, unless --force: nothing serves any more then.',
    'Its data stays: when it is started again it joins anew.',
  ].join('\n'),
  example: 'leave 127.0.0.1:5002',
  async run({ operands: [operand], force }, { client, output, signal }) {
    const server = formatAddress(parseAddress(textOf(operand as Uint8Array) ?? ''));
    const { role } = await client.status(server, { signal });
    try {
      await client.leave(server, { signal, force: force === true });
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError)) throw error;
      // The way to find out is another one than for a write.
      const message = `outcome unknown: ${error.message}; look at it with: chain`;
      throw new CatenaError('OUTCOME_UNKNOWN', message, { cause: error });
    }
    const view = role === 'single' ? undefined : await viewWithout(client, server, signal);
    const chain = view?.members.map(({ address }) => address) ?? [];
    if (output.isJson) {
      output.json({ left: server, role, ...(view && { epoch: view.epoch, chain }) });
      return exitCodes.done;
    }
    const what = role === 'learner' ? 'was no member of the chain and ends' : 'has left and ends';
    const rest = view && `; the chain is ${chain.join(' > ')} (epoch ${view.epoch})`;
    output.line(shownText(`${server} (${role}) ${what}${rest ?? ''}`));
    return exitCodes.done;
  },
};

/** The chain as it goes on; undefined if no member of it tells in time. */
async function viewWithout(
  client: KvClient,
  server: string,
  signal: AbortSignal,
): Promise<View | undefined> {
  const view = await client.view({ timeoutMs: viewMs, signal }).catch(() => undefined);
  return view?.members.some(({ address }) => address === server) === false ? view : undefined;
}
