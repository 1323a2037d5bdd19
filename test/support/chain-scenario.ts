/**
 * Scenarios: a scripted cluster whose trace is compared with the one that was reviewed and committed
 * under test/scenarios/traces. `UPDATE_TRACES=1` writes them anew; read the diff before committing it.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Configuration } from '../../src/coordination/configuration.js';
import { ChainWorld, type ChainWorldOptions, isPair } from './chain.js';
import type { Proposal } from './chain-coordinator.js';

const folder = join(process.cwd(), 'test', 'scenarios', 'traces');

export function scenario(
  name: string,
  title: string,
  play: (world: ChainWorld, t: ExecutionContext) => void,
  options: Partial<ChainWorldOptions> = {},
): void {
  test(`${name}: ${title}`, (t) => {
    const world = new ChainWorld(options);
    world.say(title);
    play(world, t);
    world.check();
    const trace = `${world.lines.join('\n')}\n`;
    const path = join(folder, `${name}.txt`);
    if (process.env['UPDATE_TRACES'] === '1') {
      mkdirSync(folder, { recursive: true });
      writeFileSync(path, trace);
    }
    t.is(trace, readFileSync(path, 'utf8'), 'UPDATE_TRACES=1 writes the traces anew');
  });
}

/** A chain of these servers, in this order, with leases everywhere and one write done; not traced. */
export function formed(world: ChainWorld, ...servers: string[]): void {
  quietly(world, () => {
    for (const [index, server] of servers.entries()) {
      world.start(server);
      const whole = (): boolean => isChain(world, ...servers.slice(0, index + 1));
      if (!world.settle(20_000, whole)) throw new Error(`no chain of ${servers.join(' ')}`);
    }
    const [write] = world.write(servers[0] as string, 0);
    const quiet = (): boolean => write?.state === 'done' && isChain(world, ...servers);
    if (!world.settle(5_000, quiet)) throw new Error('no write is done');
    world.settle(1_000);
  });
  world.say(`a chain: ${[...world.processes.values()].map(({ text }) => text).join(' | ')}`);
}

export function quietly(world: ChainWorld, act: () => void): void {
  const { traced } = world;
  world.traced = false;
  act();
  world.traced = traced;
}

/** `/chain` lists these servers' newest processes in this order, all of them with a lease. */
export function isChain(world: ChainWorld, ...servers: string[]): boolean {
  const members = world.coordinator.configuration?.members ?? [];
  return (
    members.length === servers.length &&
    members.every(({ incarnation }, index) => {
      const process = world.at(servers[index] as string);
      return process.name === incarnation && process.leaseHolds;
    })
  );
}

/** The servers that `/chain` lists. */
export function membersOf(world: ChainWorld): string {
  return (world.coordinator.configuration?.members ?? [])
    .map(({ incarnation }) => incarnation)
    .join(' ');
}

export function configurationOf(world: ChainWorld): Configuration {
  return world.coordinator.configuration as Configuration;
}

/** What `server` proposed and what was not decided yet. */
export function proposalOf(world: ChainWorld, server: string): Proposal | undefined {
  return world.coordinator.proposals.find(
    (proposal) => proposal.process === world.at(server).name && !proposal.answered,
  );
}

/** Lands and answers what `server` proposed; everything else that is proposed waits. */
export function decide(world: ChainWorld, server: string): void {
  const proposal = proposalOf(world, server);
  if (proposal === undefined) throw new Error(`${server} has proposed nothing`);
  world.land(proposal);
  world.answer(proposal);
  world.flush();
}

/** `server` finds that nobody listens at `target` any more, rightly or not. */
export function refused(world: ChainWorld, server: string, target: string): void {
  world.say(`${server} is refused a connection to ${target}`);
  const { member } = world.at(target);
  world.at(server).handle({ kind: 'dial-failed', target: member, why: 'refused' });
}

/** The next `count` packets from one server to another, on the oldest connection that has some. */
export function pass(world: ChainWorld, source: string, target: string, count = 1): void {
  for (let passed = 0; passed < count; passed++) {
    const found = world.network.connections
      .filter((connection) => isPair(connection, source, target))
      .flatMap((connection) =>
        [connection.dialer, connection.acceptor].map((end) => ({ connection, end })),
      )
      .find(({ end }) => end.server === target && end.open && end.incoming.length > 0);
    if (found === undefined) throw new Error(`nothing is under way from ${source} to ${target}`);
    world.deliver(found.connection, found.end);
  }
}

/** What is sent between these two from now on stays under way until released. */
export function hold(world: ChainWorld, a: string, b: string, held = true): void {
  world.say(`the connections of ${a} and ${b} are ${held ? 'held' : 'released'}`);
  for (const connection of world.network.connections) {
    if (isPair(connection, a, b)) connection.held = held;
  }
}

/** `server` can neither reach the coordinator nor the others. */
export function isolate(world: ChainWorld, server: string): void {
  world.say(`${server} is cut off from everybody`);
  world.coordinator.cutOff.add(server);
  for (const other of world.processes.keys()) {
    if (other !== server) world.network.block(server, other);
  }
}
