/** Puts many keys into a cluster, many in flight at a time. */
import { connect } from '../../src/index.js';

export async function fillKeys(server: string, count: number): Promise<void> {
  const client = await connect({ servers: [server], timeoutMs: 30_000 });
  const batch = 2_000;
  for (let first = 0; first < count; first += batch) {
    const numbers = Array.from(
      { length: Math.min(batch, count - first) },
      (_, index) => first + index,
    );
    await Promise.all(numbers.map((number) => client.put(`fill-${number}`, `value of ${number}`)));
  }
  await client.close();
}
