/**
 * docker-compose.yml as the README tells to use it: ZooKeeper alone, then three servers; a client inside; a
 * server killed, started, and stopped in good order. A project of its own, on a port of its own.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import anyTest from 'ava';
import { freePort, untilReady, zookeeperImage } from '../../scripts/zookeeper.js';
import { buildImage, type BuiltImage, missingDocker } from '../support/containers.js';
import { ChainWatch } from '../support/deployment.js';
import { serialTestUnless } from '../support/requirement.js';

const run = promisify(execFile);
const repositoryPath = fileURLToPath(new URL('../../../', import.meta.url));
const compose = await composeCommand();
const missing = (await missingDocker()) ?? missingCompose(compose);
const test = serialTestUnless(missing);
let image: BuiltImage | undefined;

anyTest.before(async () => {
  if (missing === undefined) image = await buildImage();
});

anyTest.after.always(async () => {
  await image?.remove();
});

/** `docker compose`, or the older program of its own. */
async function composeCommand(): Promise<readonly string[] | undefined> {
  for (const command of [['docker', 'compose'], ['docker-compose']]) {
    const [program, ...args] = command as [string, ...string[]];
    const works = await run(program, [...args, 'version']).then(
      () => true,
      () => false,
    );
    if (works) return command;
  }
  return undefined;
}

function missingCompose(command: readonly string[] | undefined): string | undefined {
  if (command !== undefined) return undefined;
  return 'no docker compose: install its plugin, or docker-compose (Debian: apt-get install docker-compose)';
}

/** One project of docker-compose.yml. */
class Project {
  readonly chain = new ChainWatch();
  readonly zookeeperPort: number;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #command: readonly string[];
  #followers: ChildProcess[] = [];

  constructor(imageName: string, zookeeperPort: number) {
    this.zookeeperPort = zookeeperPort;
    this.#environment = {
      ...process.env,
      CATENA_IMAGE: imageName,
      ZOOKEEPER_IMAGE: zookeeperImage(),
      ZOOKEEPER_PORT: String(zookeeperPort),
    };
    this.#command = [...(compose as readonly string[]), '-p', `catena-test-${randomUUID()}`];
  }

  async run(...args: string[]): Promise<string> {
    const [program, ...rest] = [...this.#command, ...args] as [string, ...string[]];
    const { stdout } = await run(program, rest, this.#options());
    return stdout;
  }

  client(...args: string[]): Promise<string> {
    return this.run('exec', '-T', 'kv1', 'kv-client', 'zookeeper:2181', ...args);
  }

  /** Of a container started anew the lines come only to a new follower; it tells the old ones again. */
  follow(): void {
    const args = ['logs', '--no-color', '--follow', 'kv1', 'kv2', 'kv3'];
    const [program, ...rest] = [...this.#command, ...args] as [string, ...string[]];
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    const child = spawn(program, rest, { ...this.#options(), stdio });
    createInterface({ input: child.stdout }).on('line', (line) => this.chain.onLine(line));
    this.#followers.push(child);
  }

  async remove(): Promise<void> {
    for (const child of this.#followers) child.kill('SIGKILL');
    await this.run('down', '--volumes');
  }

  #options() {
    return { cwd: repositoryPath, env: this.#environment };
  }
}

test('compose: ZooKeeper alone, three servers, one killed and back, one stopped', async (t) => {
  const project = new Project((image as BuiltImage).name, await freePort());
  try {
    await project.run('up', '--detach', 'zookeeper');
    await untilReady(project.zookeeperPort);
    t.is((await project.run('ps', '--quiet')).trim().split('\n').length, 1, 'no server yet');

    await project.run('up', '--detach');
    project.follow();
    await project.chain.untilMembers(3);
    const opId = (await project.client('put', 'greeting', 'hello, compose')).trim();
    t.is(await project.client('get', 'greeting'), 'hello, compose');

    await project.run('kill', 'kv2');
    await project.chain.untilMembers(2);
    await project.client('put', 'without', 'kv2');
    await project.run('up', '--detach');
    project.follow();
    await project.chain.untilMembers(3);
    t.is(await project.client('get', '--at', 'kv2:5000', 'without'), 'kv2');
    t.is((await project.client('verify', opId)).trim(), 'executed');

    await project.run('stop', 'kv3');
    await project.chain.untilMembers(2);
    t.true(
      project.chain.lines.some((line) => line.includes('kv3:5000 leaves')),
      'the signal reached the server, and it left in good order',
    );
  } catch (error) {
    t.log(project.chain.lines.slice(-40).join('\n'));
    throw error;
  } finally {
    await project.remove();
  }
});
