/** What happened in a run, in lines for people: `12.345 A2 …`. Costs nothing while nobody wants them. */
import type { Entry } from '../replica/entry.js';
import type { Effect } from '../replica/events.js';
import type { PeerBody } from '../replica/messages.js';

export interface Trace {
  readonly isOn: boolean;
  /** `atMs`: world time. `who`: a process, or what part of the world. */
  say(atMs: number, who: string, what: string): void;
}

export const silentTrace: Trace = { isOn: false, say: () => {} };

export function traceTo(write: (line: string) => void): Trace {
  return {
    isOn: true,
    say: (atMs, who, what) =>
      write(`${(atMs / 1000).toFixed(6).padStart(10)} ${who.padEnd(6)} ${what}`),
  };
}

/** A decision of a server's core; undefined for what says nothing to a reader. */
export function describeEffect(effect: Effect): string | undefined {
  switch (effect.kind) {
    case 'append':
      return `logs ${nameOf(effect.entry)}`;
    case 'apply':
      return `applies ${nameOf(effect.entry)}`;
    case 'cut':
      return `cuts its log after ${effect.seq}`;
    case 'persist':
      return `adopts epoch ${effect.state.configuration.epoch}`;
    case 'propose': {
      const { epoch, members, configId } = effect.configuration;
      const chain = members.map(({ address }) => address).join(' > ');
      return `proposes epoch ${epoch} (${configId.slice(0, 4)}): ${chain}, over version ${effect.version}`;
    }
    case 'send': {
      const text = describeBody(effect.body);
      return text === undefined
        ? undefined
        : `sends on link ${effect.link} in epoch ${effect.epoch}: ${text}`;
    }
    case 'assigned':
    case 'read':
    case 'answer':
    case 'refuse':
    case 'abandon':
    case 'dial':
    case 'probe':
    case 'close-link':
    case 'read-log':
    case 'send-snapshot':
    case 'hash-state':
    case 'compare-state':
    case 'refresh':
    case 'announce':
    case 'role':
    case 'note':
    case 'left':
    case 'halt':
      return undefined;
  }
}

function describeBody(body: PeerBody): string | undefined {
  switch (body.kind) {
    case 'append':
      return `append ${nameOf(body.entry)}, commit ${body.commit}`;
    case 'ack':
      return `ack ${body.entryEpoch}-${body.seq}`;
    case 'commit':
      return `commit ${body.commit}`;
    case 'settle':
    case 'catch-up':
      return `${body.kind} ${body.seq}`;
    case 'down-beat':
    case 'up-beat':
      return `${body.kind} ${body.number} that echoes ${body.echo}`;
    case 'hello':
    case 'hello-answer':
    case 'join':
    case 'gate':
    case 'ungate':
      return body.kind;
    case 'ping':
    case 'stale':
    case 'state-hash':
      return undefined;
  }
}

function nameOf({ epoch, firstSeq, lastSeq }: Entry): string {
  return firstSeq === lastSeq ? `${epoch}-${firstSeq}` : `${epoch}-${firstSeq}..${lastSeq}`;
}
