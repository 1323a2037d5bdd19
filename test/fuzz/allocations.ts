/**
 * Watches how much memory is asked for in one piece while hostile bytes are read: a claimed length must not be
 * believed before it was compared with what is there.
 */
const names = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const;

let largest = 0;
for (const name of names) {
  const allocate = Buffer[name].bind(Buffer);
  Buffer[name] = (size: number, ...rest: [string?, BufferEncoding?]): Buffer<ArrayBuffer> => {
    if (size > largest) largest = size;
    return allocate(size, ...rest);
  };
}

/** Does the work; throws AllocationError if a piece of more than `bytesMax` was asked for, whatever else it did. */
export function withAllocationsUpTo<Result>(bytesMax: number, work: () => Result): Result {
  largest = 0;
  try {
    return work();
  } finally {
    assertLargest(bytesMax);
  }
}

export async function withAsyncAllocationsUpTo<Result>(
  bytesMax: number,
  work: () => Promise<Result>,
): Promise<Result> {
  largest = 0;
  try {
    return await work();
  } finally {
    assertLargest(bytesMax);
  }
}

/** No typed error of the product: it is never taken for a refusal. */
export class AllocationError extends Error {}

function assertLargest(bytesMax: number): void {
  if (largest <= bytesMax) return;
  throw new AllocationError(`${largest} bytes were asked for at once, the bound is ${bytesMax}`);
}
