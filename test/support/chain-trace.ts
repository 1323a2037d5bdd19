/**
 * How a run of the simulated chain is written down: one line an event, what the replica did about it
 * behind the arrow. Signs of life are left out unless something came of them.
 */
import type { Configuration } from '../../src/coordination/configuration.js';
import type { Effect, Event } from '../../src/replica/events.js';
import type { PeerBody } from '../../src/replica/messages.js';
import type { EpochRun } from '../../src/replica/epoch-runs.js';
import { idOf } from './chain-disk.js';

/** `e3 [A1 B2]`, with who left and why it was written. */
export function formatChain({ epoch, members, left, change }: Configuration): string {
  const names = members.map(({ incarnation }) => incarnation).join(' ');
  const leavers = left.length === 0 ? '' : ` left ${left.map((m) => m.incarnation).join(' ')}`;
  return `e${epoch} [${names}] ${change.kind}${leavers}`;
}

export function formatEvent(event: Event, peer: string): string {
  switch (event.kind) {
    case 'chain':
      return event.reading.kind === 'found'
        ? `/chain v${event.reading.version} ${formatChain(event.reading.configuration)}`
        : `/chain ${event.reading.kind}`;
    case 'servers':
      return `servers ${event.servers.map((s) => `${s.incarnation}:${s.state}`).join(' ') || 'none'}`;
    case 'session':
      return `session ${event.isConnected ? 'connected' : 'away'}`;
    case 'proposed':
      return `proposed ${event.outcome}`;
    case 'durable':
      return `durable ${event.seq}`;
    case 'writes':
      return `writes ${event.writes.map(({ keyHash }) => `k${keyHash}`).join(' ')}`;
    case 'reads':
    case 'reads-done':
      return `${event.kind} ${event.reads.map(({ scope }) => scopeOf(scope)).join(' ')}`;
    case 'link-up':
      return `link ${event.dialed ? 'to' : 'from'} ${peer} up`;
    case 'link-down':
      return `link with ${peer} down`;
    case 'dial-failed':
      return `dial ${event.target.incarnation} failed: ${event.why}`;
    case 'message':
      return `${peer} says ${formatBody(event.message.body)} (e${event.message.epoch})`;
    case 'log-read':
      return `log read ${event.entries.map(idOf).join(' ')}`;
    case 'snapshot-sent':
      return `snapshot to ${event.seq} sent to ${peer}`;
    case 'snapshot-begun':
      return `snapshot from ${peer} begins, ${formatRuns(event.runs)}`;
    case 'snapshot-installed':
      return `snapshot from ${peer} installed, ${formatRuns(event.runs)}`;
    case 'state-hashed':
      return `state ${event.hash} after ${event.seq}`;
    case 'persisted':
    case 'tick':
    case 'turn-end':
    case 'leave':
    case 'disk-full':
      return event.kind;
  }
}

/** Undefined for what is not worth a word, or goes on at every beat. */
export function formatEffect(effect: Effect, peerOf: (link: number) => string): string | undefined {
  switch (effect.kind) {
    case 'persist':
      return `persist ${formatChain(effect.state.configuration)}`;
    case 'append':
      return `append ${idOf(effect.entry)}`;
    case 'cut':
      return `cut after ${effect.seq}`;
    case 'assigned':
      return `assigned ${idOf(effect.entry)}`;
    case 'apply':
      return `apply ${idOf(effect.entry)}${effect.writes === undefined ? '' : ' and answer'}`;
    case 'abandon':
      return `abandon ${idOf(effect.entry)}`;
    case 'refuse':
      return `refuse ${effect.requests.length} ${effect.why}`;
    case 'read':
    case 'answer':
      return `${effect.kind} ${effect.reads.map(({ scope }) => scopeOf(scope)).join(' ')}`;
    case 'send':
      if (isSignOfLife(effect.body)) return undefined;
      return `to ${peerOf(effect.link)}: ${formatBody(effect.body)}`;
    case 'dial':
      return `dial ${effect.target?.incarnation ?? 'nobody'}`;
    case 'probe':
      return `probe ${effect.target.incarnation}`;
    case 'close-link':
      return `close link with ${peerOf(effect.link)}: ${effect.reason}`;
    case 'read-log':
      return `read log from ${effect.fromSeq}`;
    case 'send-snapshot':
      return `send snapshot to ${peerOf(effect.link)}`;
    case 'propose':
      return `propose ${formatChain(effect.configuration)} on v${effect.version ?? '-'}`;
    case 'announce':
      return `announce ${effect.state}`;
    case 'role':
      return `BECOMES ${effect.role} in e${effect.configuration.epoch}`;
    case 'note':
      return effect.level === 'debug' ? undefined : `(${effect.message})`;
    case 'halt':
      return `HALT ${effect.error.message}`;
    case 'hash-state':
    case 'compare-state':
      return undefined;
    case 'refresh':
    case 'left':
      return effect.kind;
  }
}

export function isSignOfLife({ kind }: PeerBody): boolean {
  return kind === 'ping' || kind === 'down-beat' || kind === 'up-beat' || kind === 'state-hash';
}

function formatBody(body: PeerBody): string {
  switch (body.kind) {
    case 'hello-answer':
    case 'join':
      return `${body.kind} ${formatRuns(body.runs)} commit ${body.commit}`;
    case 'settle':
    case 'catch-up':
      return `${body.kind} ${body.seq}`;
    case 'append':
      return `append ${idOf(body.entry)} commit ${body.commit}`;
    case 'ack':
      return `ack ${body.entryEpoch}-${body.seq}`;
    case 'commit':
      return `commit ${body.commit}`;
    case 'down-beat':
    case 'up-beat':
      return `${body.kind} ${body.number} echo ${body.echo}`;
    case 'gate':
      return `gate above ${body.upNumber}`;
    case 'state-hash':
      return `state ${body.hash} after ${body.seq}`;
    case 'hello':
    case 'ping':
    case 'ungate':
    case 'stale':
      return body.kind;
  }
}

function formatRuns(runs: readonly EpochRun[]): string {
  return `{${runs.map(({ epoch, lastSeq }) => `${epoch}:..${lastSeq}`).join(' ')}}`;
}

function scopeOf(scope: number | 'all' | 'position'): string {
  return typeof scope === 'number' ? `k${scope}` : scope;
}
