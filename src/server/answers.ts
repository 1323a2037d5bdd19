/** Answers to clients, made from the table: of writes when they are applied, of reads in two steps. */
import { pageBytesMax } from '../limits.js';
import type { Machine } from '../machine/machine.js';
import type { OpResult } from '../machine/op.js';
import { encodeResponse, type ResponseBody } from '../protocol/messages.js';
import type { Entry } from '../replica/entry.js';
import type { Replica } from '../replica/replica.js';
import type { ClientRead, ClientWrite } from './client-requests.js';

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

  read(reads: readonly ClientRead[]): void {
    for (const read of reads) {
      if (read.body.kind === 'scan') {
        read.snapshot?.close();
        read.snapshot = this.machine.snapshot();
      } else {
        read.payload = encodeResponse({ id: read.id, body: this.#valueOf(read.body) });
      }
    }
  }

  answer(reads: readonly ClientRead[]): void {
    for (const read of reads) {
      const { session, arrivedAtMs, body, payload } = read;
      if (payload !== undefined) session.answerPayload(body.kind, arrivedAtMs, payload);
      else void streamPages(read);
    }
  }

  #valueOf(body: Exclude<ClientRead['body'], { kind: 'scan' }>): ResponseBody {
    const { table } = this.machine;
    switch (body.kind) {
      case 'get': {
        const value = table.get(body.key);
        if (value === undefined) {
          return { kind: 'value', found: false, value: new Uint8Array(0), version: 0 };
        }
        return { kind: 'value', found: true, value, version: table.version(body.key) ?? 0 };
      }
      case 'size':
        return { kind: 'count', keys: table.size };
      case 'verify': {
        const { epoch, seq } = body.opId;
        return { kind: 'verified', outcome: this.#replica.verify(epoch, seq) };
      }
    }
  }
}

/** All pages of one instant, never faster than the client takes them. */
async function streamPages(read: ClientRead): Promise<void> {
  const { session, id, arrivedAtMs, body, snapshot } = read;
  if (snapshot === undefined || body.kind !== 'scan') return;
  try {
    for (;;) {
      await session.connection.drained();
      if (session.connection.isClosed) return;
      const entries = snapshot.next(pageBytesMax);
      if (entries.length === 0) break;
      const shown = body.values ? entries : entries.map((entry) => ({ ...entry, value: noBytes }));
      session.tell(id, { kind: 'page', entries: shown, last: false });
    }
  } finally {
    snapshot.close();
  }
  session.answer(id, 'scan', arrivedAtMs, { kind: 'page', entries: [], last: true });
}

const noBytes = new Uint8Array(0);
