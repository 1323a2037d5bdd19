/**
 * Answers to clients, made from the table: of writes when they are applied, of reads in two steps.
 *
 * Invariant: what an answer takes of this server's memory does not grow with the table: pages are made
 * one at a time, when the client has taken those before.
 */
import { pageBytesMax } from '../limits.js';
import type { Machine } from '../machine/machine.js';
import type { OpResult } from '../machine/op.js';
import { encodeResponse, type ResponseBody, type ScanHead } from '../protocol/messages.js';
import type { OpId } from '../protocol/op-id.js';
import type { Entry } from '../replica/entry.js';
import type { Replica } from '../replica/replica.js';
import { nextTurn, rarely } from '../runtime/runtime.js';
import type { ClientRead, ClientWrite, ScanInstant } from './client-requests.js';

/** The op ids are given out: the last word for those that do not wait. */
export function answerAssigned(entry: Entry, writes: readonly ClientWrite[]): void {
  let seq = entry.firstSeq;
  for (const { session, id, op, arrivedAtMs, noWait, announce } of writes) {
    const body: ResponseBody = { kind: 'assigned', opId: { epoch: entry.epoch, seq } };
    if (noWait) session.answer(id, op.kind, arrivedAtMs, body);
    else if (announce) session.tell(id, body);
    seq += 1;
  }
}

export function answerWritten(
  entry: Entry,
  writes: readonly ClientWrite[],
  results: readonly OpResult[],
): void {
  let index = 0;
  for (const { session, id, op, arrivedAtMs, noWait } of writes) {
    const { existed } = results[index] as OpResult;
    const opId = { epoch: entry.epoch, seq: entry.firstSeq + index };
    if (!noWait) session.answer(id, op.kind, arrivedAtMs, { kind: 'written', opId, existed });
    index += 1;
  }
}

/** Reads the values first; the answers leave later, when the replica says that the lease held. */
export class ReadAnswers {
  machine: Machine;
  readonly #replica: Replica;

  constructor(machine: Machine, replica: Replica) {
    this.machine = machine;
    this.#replica = replica;
  }

  /** Makes the answers, as many as each client has room for. Returns the reads that have one now. */
  read(reads: readonly ClientRead[]): ClientRead[] {
    const done: ClientRead[] = [];
    for (const read of reads) {
      const { session, id, body } = read;
      if (body.kind === 'scan' ? session.isStreaming : !session.takesAnswers) {
        session.defer(read);
        continue;
      }
      if (body.kind === 'scan') {
        read.instant = this.#instant();
        session.setStreaming(true);
      } else {
        read.payload = encodeResponse({ id, body: this.#valueOf(body) });
        session.hold(read.payload.length);
      }
      done.push(read);
    }
    return done;
  }

  /** What was read may leave. */
  answer(reads: readonly ClientRead[]): void {
    for (const read of reads) {
      const { session, arrivedAtMs, body, payload, instant } = read;
      if (payload !== undefined) {
        read.payload = undefined;
        session.answerPayload(read.id, body.kind, arrivedAtMs, payload);
        session.hold(-payload.length);
      } else if (instant !== undefined) {
        read.instant = undefined;
        void streamPages(read, instant);
      }
    }
  }

  /** What was read for these and did not leave: without a lease it is read anew. */
  discard(reads: readonly ClientRead[]): void {
    for (const read of reads) {
      const { session, payload, instant } = read;
      read.payload = undefined;
      read.instant = undefined;
      if (payload !== undefined) session.hold(-payload.length);
      if (instant === undefined) continue;
      instant.snapshot.close();
      session.setStreaming(false);
    }
  }

  /** The table as it is now, and what is to be said about it before its first entry. */
  #instant(): ScanInstant {
    const { appliedSeq: seq, table, stateHash } = this.machine;
    const runs = this.#replica.runsUpTo(seq);
    const head: ScanHead = {
      opId: this.#appliedOpId(),
      keys: table.size,
      bytes: table.bytes,
      runs,
      stateHash,
      clusterId: this.#replica.configuration?.clusterId ?? '',
    };
    return { head, snapshot: this.machine.snapshot() };
  }

  /** The last op in the table, which is the one that what is read now reflects. */
  #appliedOpId(): OpId {
    const seq = this.machine.appliedSeq;
    return { epoch: this.#replica.epochAt(seq), seq };
  }

  #valueOf(body: Exclude<ClientRead['body'], { kind: 'scan' }>): ResponseBody {
    const { table } = this.machine;
    switch (body.kind) {
      case 'get': {
        const value = table.get(body.key);
        const at = this.#appliedOpId();
        if (value === undefined) {
          return { kind: 'value', found: false, value: noBytes, version: 0, at };
        }
        return { kind: 'value', found: true, value, version: table.version(body.key) ?? 0, at };
      }
      case 'size':
        return { kind: 'count', keys: table.size, at: this.#appliedOpId() };
      case 'verify': {
        const { epoch, seq } = body.opId;
        return { kind: 'verified', outcome: this.#replica.verify(epoch, seq) };
      }
    }
  }
}

/** All pages of one instant, never faster than the client takes them; the first one with the head. */
async function streamPages(read: ClientRead, { head, snapshot }: ScanInstant): Promise<void> {
  const { session, id, arrivedAtMs, body } = read;
  const { connection } = session;
  const values = body.kind === 'scan' && body.values;
  let first: { head?: ScanHead } = { head };
  try {
    for (;;) {
      await connection.drained();
      if (connection.isClosed) return;
      const entries = snapshot.next(rarely('a small page', 256, pageBytesMax));
      if (entries.length === 0) break;
      const shown = values ? entries : entries.map((entry) => ({ ...entry, value: noBytes }));
      session.tell(id, { kind: 'page', entries: shown, last: false, ...first });
      first = {};
      // A client that takes all at once must not keep the loop from serving the others.
      await nextTurn();
    }
    session.answer(id, 'scan', arrivedAtMs, { kind: 'page', entries: [], last: true, ...first });
  } catch (error) {
    // Out of memory for the snapshot: this scan fails, nothing else.
    const message = `the scan failed: ${error instanceof Error ? error.message : String(error)}`;
    session.fail(id, 'scan', arrivedAtMs, { code: 'UNAVAILABLE', message });
  } finally {
    snapshot.close();
    session.setStreaming(false);
  }
}

const noBytes = new Uint8Array(0);
