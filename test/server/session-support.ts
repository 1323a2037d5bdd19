/** A ClientSession or a Listener with a host that only notes what it is given. */
import type { ClientSession, SessionHost } from '../../src/server/client-session.js';
import type { ClientRead, ClientWrite } from '../../src/server/client-requests.js';

const at = { epoch: 1, seq: 1 };

export class NotingHost implements SessionHost {
  readonly writes: ClientWrite[] = [];
  readonly reads: ClientRead[] = [];
  readonly answered: { kind: string; failed: boolean }[] = [];
  #wake: (() => void) | undefined;

  onWrite(write: ClientWrite): void {
    this.writes.push(write);
    this.#wake?.();
  }

  onRead(read: ClientRead): void {
    this.reads.push(read);
    this.#wake?.();
  }

  onLeave(): void {}

  onStatus(session: ClientSession, id: number, arrivedAtMs: number): void {
    session.answer(id, 'status', arrivedAtMs, { kind: 'count', keys: 0, at });
  }

  onAnswered(kind: string, _arrivedAtMs: number, failed: boolean): void {
    this.answered.push({ kind, failed });
  }

  onLinkPayloads(): void {}

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

export function answerCount(read: ClientRead): void {
  read.session.answer(read.id, read.body.kind, read.arrivedAtMs, { kind: 'count', keys: 1, at });
}
