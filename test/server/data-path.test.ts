/** A slip in `--data` is refused as such, and nothing is made or changed on the disk by it. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { MemoryCoordination } from '../../src/coordination/memory.js';
import { RefusedToStartError } from '../../src/errors.js';
import { silentLogger } from '../../src/logger.js';
import { planRecovery } from '../../src/server/operator-recovery.js';
import { CatenaServer } from '../../src/server/server.js';
import { cluster, freePorts, temporaryDirectory } from './support.js';

async function start(dataPath: string): Promise<CatenaServer> {
  return CatenaServer.start({
    listen: { host: '127.0.0.1', port: await freePorts(1) },
    dataPath,
    cluster,
    coordinator: new MemoryCoordination().coordinator(),
    logger: silentLogger,
    onLine: () => {},
  });
}

test('a server whose data path is a file, or lies below one, refuses to start', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'file');
  await writeFile(file, 'mine');
  const isFile = {
    instanceOf: RefusedToStartError,
    message: `--data ${file} is a file; name a directory, or a path for one`,
  };
  await t.throwsAsync(start(file), isFile);
  const below = {
    instanceOf: RefusedToStartError,
    message: /cannot be used: a part of this path is a file/,
  };
  await t.throwsAsync(start(join(file, 'data')), below);
  t.deepEqual(await readdir(directory), ['file']);
});

test('recover with a mistyped data path makes nothing there', async (t) => {
  const directory = await temporaryDirectory(t);
  const coordinator = new MemoryCoordination().coordinator();
  coordinator.start({ onChain: () => {}, onServers: () => {}, onSession: () => {} });
  const missing = join(directory, 'mistyped');
  await t.throwsAsync(planRecovery(missing, coordinator), {
    instanceOf: RefusedToStartError,
    message: `--data ${missing} does not exist; name the data directory of a server`,
  });
  const other = join(directory, 'photos');
  await mkdir(other);
  await t.throwsAsync(planRecovery(other, coordinator), {
    instanceOf: RefusedToStartError,
    message: /photos holds no data of a server/,
  });
  t.deepEqual(await readdir(directory), ['photos']);
  t.deepEqual(await readdir(other), []);
  await coordinator.close();
});
