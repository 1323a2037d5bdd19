/** Puts many keys into a cluster, many in flight at a time. */
import { connect, type KvClient, OutcomeUnknownError } from '../../src/index.js';

export async function fillKeys(server: string, count: number): Promise<void> {
  const client = await connect({ servers: [server], timeoutMs: 30_000 });
  const batch = 2_000;
  for (let first = 0; first < count; first += batch) {
    const numbers = Array.from(
      { length: Math.min(batch, count - first) },
      (_, index) => first + index,
    );
    await Promise.all(numbers.map((number) => putForSure(client, number)));
  }
  await client.close();
}

/** Nobody else writes these keys, so a write whose outcome is unknown may simply be repeated. */
async function putForSure(client: KvClient, number: number): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await client.put(`fill-${number}`, `value of ${number}`);
      return;
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError) || tries === triesMax) throw error;
    }
  }
}

const triesMax = 10;
