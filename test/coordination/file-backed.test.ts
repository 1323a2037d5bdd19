/** `/chain` of an embedded chain in its file: kept, and never taken from a damaged one. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openFileBackedCoordination } from '../../src/coordination/file-backed.js';
import { DataDamagedError, RefusedToStartError } from '../../src/errors.js';

const listener = { onChain: () => {}, onServers: () => {}, onSession: () => {} };

async function startCoordinator(path: string) {
  const coordinator = (await openFileBackedCoordination(path)).coordinator();
  coordinator.start(listener);
  return coordinator;
}

async function keptChain(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'catena-chain-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'below', 'chain.json');
  const coordinator = await startCoordinator(path);
  t.is(await coordinator.createChain('first'), 'done');
  t.is(await coordinator.setChain('second', 0), 'done');
  await coordinator.close();
  return path;
}

test('a restart finds what the last compare-and-set wrote, and its version', async (t) => {
  const coordinator = await startCoordinator(await keptChain(t));
  t.deepEqual(await coordinator.readChain(), { kind: 'found', data: 'second', version: 1 });
  t.is(await coordinator.setChain('third', 0), 'conflict');
  t.is(await coordinator.setChain('third', 1), 'done');
  await coordinator.close();
});

test('D3: any changed byte of the file is found', async (t) => {
  const path = await keptChain(t);
  const whole = await readFile(path);
  for (let at = 0; at < whole.length; at++) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= 1;
    await writeFile(path, damaged);
    const error = await t.throwsAsync(openFileBackedCoordination(path));
    t.true(error instanceof DataDamagedError || error instanceof RefusedToStartError, `byte ${at}`);
  }
  await writeFile(path, whole);
  await t.notThrowsAsync(openFileBackedCoordination(path));
});
