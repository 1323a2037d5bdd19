/**
 * A cluster in containers, by Testcontainers: one for ZooKeeper, one for each server, and one in which the
 * clients run, all in a network of their own; nothing is reached through a port of the host. Servers and
 * clients run the image that the Dockerfile makes of this working tree.
 *
 * Invariant: whatever a deployment started carries its label, and `remove()` removes all that carries it.
 */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import {
  GenericContainer,
  getContainerRuntimeClient,
  Network,
  type StartedNetwork,
  type StartedTestContainer,
  Wait,
} from 'testcontainers';
import { zookeeperImage } from '../../scripts/zookeeper.js';
import { ChainWatch, type ClientOutcome, type Deployment } from './deployment.js';
import type { HistoryOp } from '../../src/simulation/checkers/history.js';
import { parseHistory } from './processes.js';
import type { WorkloadOptions } from './workload.js';

const repositoryPath = fileURLToPath(new URL('../../../', import.meta.url));
const label = 'catena.deployment';
const zookeeper = 'zookeeper:2181';
const serverPort = 5000;
const supportDirectory = '/catena/dist/test/support';

/** Why nothing can be run in containers here, and what to install; undefined if it can. */
export async function missingDocker(): Promise<string | undefined> {
  return getContainerRuntimeClient().then(
    () => undefined,
    () =>
      'no Docker to run containers with: install and start it (Debian: apt-get install docker.io)',
  );
}

export interface BuiltImage {
  readonly name: string;
  /** The layers below the last one stay in the engine's cache: the next build is quick. */
  remove(): Promise<void>;
}

/** Of the Dockerfile. A name of its own each time: a build that fails can't be mistaken for an older one. */
export async function buildImage(): Promise<BuiltImage> {
  const name = `catena-test:${randomUUID()}`;
  const base = process.env['NODE_IMAGE'];
  const buildArgs = base === undefined ? {} : { NODE_IMAGE: base, RUNTIME_IMAGE: base };
  try {
    await GenericContainer.fromDockerfile(repositoryPath)
      .withBuildArgs(buildArgs)
      .build(name, { deleteOnExit: false });
  } catch (error) {
    const options = Object.entries(buildArgs).map(([key, value]) => `--build-arg ${key}=${value} `);
    throw new Error(`no image; see why with: docker build ${options.join('')}.`, { cause: error });
  }
  return {
    name,
    async remove() {
      const { container } = await getContainerRuntimeClient();
      await container.dockerode.getImage(name).remove({ noprune: true });
    },
  };
}

export class ContainerDeployment implements Deployment {
  readonly chain = new ChainWatch();
  readonly #image: string;
  readonly #id = randomUUID();
  readonly #servers = new Map<number, StartedTestContainer>();
  #network!: StartedNetwork;
  #zookeeper!: StartedTestContainer;
  #client!: StartedTestContainer;

  /** Of an image of `buildImage`: ZooKeeper and the place for clients; no server yet. */
  static async deploy(image: string): Promise<ContainerDeployment> {
    const deployment = new ContainerDeployment(image);
    deployment.#network = await new Network().start();
    try {
      // Not waited for: that ZooKeeper may come later than a server is the servers' business.
      deployment.#zookeeper = await deployment.#container(zookeeperImage(), 'zookeeper').start();
      deployment.#client = await deployment.#startClient();
      return deployment;
    } catch (error) {
      await deployment.remove();
      throw error;
    }
  }

  private constructor(image: string) {
    this.#image = image;
  }

  address(number: number): string {
    return `kv${number}:${serverPort}`;
  }

  async start(number: number): Promise<void> {
    const known = this.#servers.get(number);
    if (known === undefined) {
      this.#servers.set(number, await this.#startServer(number));
      return;
    }
    // It is killed or stopped: this starts it again, with its data, and waits for the same line.
    await known.restart();
    const { State } = await (await engineOf(known)).inspect();
    const sinceSeconds = Date.parse(State.StartedAt) / 1_000;
    this.#follow(await known.logs({ since: sinceSeconds }));
  }

  async kill(number: number): Promise<void> {
    await end(this.#server(number), 'SIGKILL');
  }

  stop(number: number): Promise<number | null> {
    return end(this.#server(number), 'SIGTERM');
  }

  /** All its processes at once, by the kernel: no signal that one of them could see. */
  async pause(number: number): Promise<void> {
    await (await engineOf(this.#server(number))).pause();
  }

  async resume(number: number): Promise<void> {
    await (await engineOf(this.#server(number))).unpause();
  }

  async stopZooKeeper(): Promise<void> {
    await end(this.#zookeeper, 'SIGKILL');
  }

  async startZooKeeper(): Promise<void> {
    await this.#zookeeper.restart();
  }

  async client(
    args: readonly string[],
    { servers = false }: { servers?: boolean } = {},
  ): Promise<ClientOutcome> {
    const where = servers ? ['--servers', this.#addresses().join(',')] : [zookeeper];
    const command = ['kv-client', ...where, ...args];
    const { exitCode, stdout, stderr } = await this.#client.exec(command);
    return { code: exitCode, stdout, stderr };
  }

  async workload(load: Omit<WorkloadOptions, 'connect'>): Promise<HistoryOp[]> {
    const options: WorkloadOptions = { ...load, connect: { servers: this.#addresses() } };
    const script = `${supportDirectory}/workload.js`;
    return parseHistory(await this.#runInClient('node', script, JSON.stringify(options)));
  }

  /** Puts so many keys, from where the clients are. */
  async fill(count: number): Promise<void> {
    const script =
      `import { fillKeys } from '${supportDirectory}/fill.js'; ` +
      `await fillKeys('${this.address(1)}', ${count});`;
    await this.#runInClient('node', '--input-type=module', '--eval', script);
  }

  async remove(): Promise<void> {
    const { container } = await getContainerRuntimeClient();
    const { dockerode } = container;
    const ours = { all: true, filters: { label: [`${label}=${this.#id}`] } };
    const containers = await dockerode.listContainers(ours);
    await Promise.all(
      containers.map(({ Id }) => dockerode.getContainer(Id).remove({ force: true, v: true })),
    );
    await this.#network.stop();
  }

  #startServer(number: number): Promise<StartedTestContainer> {
    const listen = `0.0.0.0:${serverPort}`;
    return this.#container(this.#image, `kv${number}`)
      .withCommand([zookeeper, listen, '--advertise', this.address(number), '--data', '/data'])
      .withLogConsumer((stream) => this.#follow(stream))
      .withWaitStrategy(Wait.forLogMessage(/ serves cluster /))
      .start();
  }

  #startClient(): Promise<StartedTestContainer> {
    const programs = ['workload.js', 'fill.js'].map((file) => ({
      source: fileURLToPath(new URL(file, import.meta.url)),
      target: `${supportDirectory}/${file}`,
    }));
    return this.#container(this.#image, 'client')
      .withEntrypoint(['sleep', 'infinity'])
      .withCopyFilesToContainer(programs)
      .start();
  }

  #container(image: string, name: string): GenericContainer {
    return new GenericContainer(image)
      .withNetwork(this.#network)
      .withNetworkAliases(name)
      .withLabels({ [label]: this.#id });
  }

  async #runInClient(...command: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.#client.exec(command);
    if (exitCode !== 0) throw new Error(`${command[1]} ended with ${exitCode}: ${stderr}`);
    return stdout;
  }

  #server(number: number): StartedTestContainer {
    const server = this.#servers.get(number);
    if (server === undefined) throw new Error(`server ${number} was not started`);
    return server;
  }

  #addresses(): string[] {
    return [...this.#servers.keys()].map((number) => this.address(number));
  }

  #follow(output: Readable): void {
    createInterface({ input: output }).on('line', (line) => this.chain.onLine(line));
  }
}

/** The engine's own handle, for what Testcontainers has no call for. */
async function engineOf(container: StartedTestContainer) {
  return (await getContainerRuntimeClient()).container.getById(container.getId());
}

/** Sends the signal; resolves to the exit code when the container has ended. It can be started again. */
async function end(container: StartedTestContainer, signal: NodeJS.Signals): Promise<number> {
  const engine = await engineOf(container);
  const ended = engine.wait() as Promise<{ StatusCode: number }>;
  await engine.kill({ signal });
  return (await ended).StatusCode;
}
