/** Runs tasks one after the other, in the order in which they were added; a failed one stops nothing. */
export class TaskQueue {
  #last: Promise<unknown> = Promise.resolve();

  add<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
