/**
 * `make demo`: a tour of less than a minute on a real ZooKeeper: three servers, a write, kill -9 of the
 * head, a read, a write, the restart, and what became of an op. Prints each step as the command that a user
 * would type and what it really printed. Ends with 1 at the first step that is not as expected.
 *
 * Free ports and temporary data: it disturbs nothing and leaves nothing behind.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type KvClient } from '../src/index.js';
import { deployProcesses, type ProcessDeployment } from '../test/support/processes.js';
import { missingZooKeeper } from './zookeeper.js';

const serverCount = 3;
const tourMsMax = 60_000;
const probePauseMs = 5;
const key = 'greeting';

/** A step did not do what it is there to show. */
class UnexpectedError extends Error {}

async function tour(deployment: ProcessDeployment): Promise<void> {
  const { zookeeper, chain } = deployment;
  const shell = new DemoShell(deployment);

  title(`A ZooKeeper: ${zookeeper.kind}`);
  title('Three servers, each a process with a log of its own');
  for (let number = 1; number <= serverCount; number++) {
    await shell.startServer(number);
    await chain.untilMembers(number);
    shell.showLines();
  }

  title('A write is acknowledged when all three have it on disk; it prints its op id');
  await shell.client(['put', key, 'hello', 'from', 'three'], /^\d+-\d+$/);
  await shell.client(['chain'], /^head .*\nmiddle .*\ntail /m);

  title('kill -9 of the head; meanwhile another client writes without pause');
  const probe = await WriteProbe.start(chain.newest.members);
  const head = deployment.address(1);
  must(chain.newest.members[0] === head, `${head} should be the head`);
  command('kill -9 %1');
  await Promise.all([deployment.kill(1), probe.untilAway(shell.untilRemoved(head))]);
  shell.showLines();
  await shell.client(['get', key], /^hello from three$/);
  const opId = await shell.client(['put', key, 'hello', 'from', 'two'], /^\d+-\d+$/);
  const awayMs = await probe.stop();
  title(`Writes were away for ${Math.round(awayMs)} ms, as that other client saw it`);

  title('The killed server comes back by itself: at the tail, with all that it missed');
  await shell.startServer(1);
  await chain.untilMembers(serverCount);
  shell.showLines();
  await shell.client(['chain'], new RegExp(`^tail +${head} `, 'm'));
  await shell.client(['get', '--at', head, key], /^hello from two$/);

  title('What became of an op, by its id');
  await shell.client(['verify', opId], /^executed$/);
}

/** Runs the steps, and prints them as they would look in a terminal. */
class DemoShell {
  readonly #deployment: ProcessDeployment;
  #shownLines = 0;

  constructor(deployment: ProcessDeployment) {
    this.#deployment = deployment;
  }

  async startServer(number: number): Promise<void> {
    const { zookeeper, directory } = this.#deployment;
    await this.#deployment.start(number);
    // Its port was chosen as it started.
    const port = this.#deployment.address(number).split(':').at(-1);
    const data = join(directory, `server-${number}`);
    command(`kv-server ${zookeeper.connectString} ${port} --data ${data} &`);
  }

  /** What the servers have printed since. */
  showLines(): void {
    const { lines } = this.#deployment.chain;
    for (const line of lines.slice(this.#shownLines)) console.log(`  ${line}`);
    this.#shownLines = lines.length;
  }

  untilRemoved(address: string): Promise<unknown> {
    return this.#deployment.chain.until(`${address} removed`, ({ members }) => {
      return members.length === serverCount - 1 && !members.includes(address);
    });
  }

  async client(args: readonly string[], expected: RegExp): Promise<string> {
    command(`kv-client ${this.#deployment.zookeeper.connectString} ${args.join(' ')}`);
    const { code, stdout, stderr } = await this.#deployment.client(args);
    const text = stdout.trimEnd();
    console.log(`${text}${stderr}`);
    must(code === 0, `kv-client ended with ${code}`);
    must(expected.test(text), `that should match ${expected}`);
    return text;
  }
}

/** A client that puts without pause, and notes the longest time between two answers. */
class WriteProbe {
  readonly #client: KvClient;
  readonly #done: Promise<void>;
  #isStopped = false;
  #answers = 0;
  #longestMs = 0;

  static async start(servers: readonly string[]): Promise<WriteProbe> {
    const client = await connect({ servers });
    await client.put('probe', '');
    return new WriteProbe(client);
  }

  private constructor(client: KvClient) {
    this.#client = client;
    this.#done = this.#run();
  }

  /** Resolves when `change` happened and a write after it was answered. */
  async untilAway(change: Promise<unknown>): Promise<void> {
    await change;
    const before = this.#answers;
    while (this.#answers === before && !this.#isStopped) await sleep(probePauseMs);
  }

  async stop(): Promise<number> {
    this.#isStopped = true;
    await this.#done;
    await this.#client.close();
    return this.#longestMs;
  }

  async #run(): Promise<void> {
    let lastMs = performance.now();
    while (!this.#isStopped) {
      // A write whose outcome is unknown is no answer: the time goes on until one is.
      const isAnswered = await this.#client.put('probe', `${this.#answers}`).then(
        () => true,
        () => false,
      );
      if (isAnswered) {
        const nowMs = performance.now();
        this.#longestMs = Math.max(this.#longestMs, nowMs - lastMs);
        lastMs = nowMs;
        this.#answers += 1;
      }
      await sleep(probePauseMs);
    }
  }
}

function title(text: string): void {
  console.log(`\n# ${text}`);
}

function command(text: string): void {
  console.log(`$ ${text}`);
}

function must(condition: boolean, what: string): void {
  if (!condition) throw new UnexpectedError(what);
}

/** 0, or 1 with the reason printed. */
async function main(): Promise<number> {
  const missing = await missingZooKeeper();
  if (missing !== undefined) {
    console.error(`make demo: ${missing}`);
    return 1;
  }
  const deployment = await deployProcesses();
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => reject(new UnexpectedError(`ended by ${signal}`)));
    }
    setTimeout(() => reject(new UnexpectedError(`not done in ${tourMsMax} ms`)), tourMsMax).unref();
  });
  try {
    await Promise.race([tour(deployment), interrupted]);
    console.log('\nAll as expected. Servers, ZooKeeper and data of the tour are removed now.');
    return 0;
  } catch (error) {
    if (!(error instanceof UnexpectedError)) throw error;
    console.error(`\nmake demo: ${error.message}`);
    return 1;
  } finally {
    await deployment.remove();
  }
}

process.exit(await main());
