/** Calls in order, first in, first out; any of them can leave at once. Pure. A linked list, for the reason in in-flight.ts. */
import type { Call } from './call.js';

export class CallQueue {
  #first: Call | undefined;
  #last: Call | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Call | undefined {
    return this.#first;
  }

  /** The call must be in no queue. */
  push(call: Call): void {
    call.queuedAfter = this.#last;
    if (this.#last === undefined) this.#first = call;
    else this.#last.queuedBefore = call;
    this.#last = call;
    this.#size += 1;
  }

  /** The call must be in this queue. */
  remove(call: Call): void {
    const { queuedAfter, queuedBefore } = call;
    if (queuedAfter === undefined) this.#first = queuedBefore;
    else queuedAfter.queuedBefore = queuedBefore;
    if (queuedBefore === undefined) this.#last = queuedAfter;
    else queuedBefore.queuedAfter = queuedAfter;
    call.queuedAfter = undefined;
    call.queuedBefore = undefined;
    this.#size -= 1;
  }

  calls(): Call[] {
    const calls: Call[] = [];
    for (let each = this.#first; each !== undefined; each = each.queuedBefore) calls.push(each);
    return calls;
  }
}
