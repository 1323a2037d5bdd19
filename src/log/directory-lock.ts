/**
 * The lock of a data directory. Node has no flock, so the lock is a listening Unix socket in the
 * directory: the kernel stops accepting for it when the process dies, however it dies, and goes on
 * accepting while it is stopped. It works between containers on one kernel that share the volume; it
 * cannot see a process on another machine (a network file system).
 *
 * The holder is the process that listens on the highest `lock-N`. To take it: listen on a private
 * name first (so a lock file never exists without its listener), then link(2) it to N + 1, which only
 * one can do, then look again, and withdraw if a higher one exists. Invariant: the highest lock-N is
 * never removed, not on release either, so a starter that slept between its steps always finds a
 * higher one than it linked, and two can never both believe.
 */

import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import { hostname } from 'node:os';
import { join, relative } from 'node:path';
import { InvariantError, RefusedToStartError } from '../errors.js';
import type { DirectoryLock } from './disk.js';
import { errorCode, errorText } from './disk.js';

const lockName = /^lock-(\d{1,15})$/;
const privateName = /^lock-new-/;
const ownerName = 'lock-owner.json';
/** sun_path of the kernel holds 108 bytes with the final zero (104 on some systems). */
const socketPathBytesMax = 103;
const attemptsMax = 100;

/** Locks the directory. Throws RefusedToStartError if it is held or cannot be locked. */
export async function takeDirectoryLock(path: string): Promise<DirectoryLock> {
  const handle = await fs.promises.open(path, fs.constants.O_RDONLY);
  const server = net.createServer((socket) => socket.destroy());
  const release = async (): Promise<void> => {
    await closeServer(server);
    await handle.close();
  };
  try {
    const base = shortPath(path, handle.fd);
    const name = `lock-new-${randomUUID().slice(0, 8)}`;
    await listen(server, join(base, name), path);
    server.unref();
    await claim(path, base, name);
    await fs.promises.unlink(join(path, name)).catch(ignoreAbsent);
    await noteOwner(path);
    return { release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Links our listening socket to the next number; returns once it is certainly the highest. */
async function claim(path: string, base: string, name: string): Promise<void> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const highest = Math.max(0, ...(await lockNumbers(path)));
    if (highest > 0 && (await probe(join(base, `lock-${highest}`))) === 'held') {
      throw new RefusedToStartError(
        `the data directory ${path} is in use by ${await describeOwner(path)}; ` +
          'stop that server, or give this one a data directory of its own',
      );
    }
    const mine = join(path, `lock-${highest + 1}`);
    try {
      await fs.promises.link(join(path, name), mine);
    } catch (error) {
      if (errorCode(error) === 'EEXIST') continue;
      throw cannotLock(path, error);
    }
    const numbers = await lockNumbers(path);
    if (Math.max(...numbers) === highest + 1) {
      for (const lower of numbers) {
        if (lower <= highest) {
          await fs.promises.unlink(join(path, `lock-${lower}`)).catch(ignoreAbsent);
        }
      }
      return;
    }
    await fs.promises.unlink(mine).catch(ignoreAbsent);
  }
  throw new InvariantError(`the lock of ${path} changed hands ${attemptsMax} times in a row`);
}

async function lockNumbers(path: string): Promise<number[]> {
  const numbers: number[] = [];
  for (const name of await fs.promises.readdir(path)) {
    const match = lockName.exec(name);
    if (match) numbers.push(Number(match[1]));
  }
  return numbers;
}

/** Only a refused connection (no listener, or no socket) proves that the holder is dead. */
function probe(path: string): Promise<'held' | 'free'> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve('held');
    });
    socket.once('error', (error) => {
      const code = errorCode(error);
      resolve(code === 'ECONNREFUSED' || code === 'ENOENT' ? 'free' : 'held');
    });
  });
}

function listen(server: net.Server, socketPath: string, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(cannotLock(path, error)));
    // Exclusive: in a cluster worker the primary process would listen instead of this one.
    server.listen({ path: socketPath, exclusive: true }, resolve);
  });
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/** A socket address is short, a directory's path need not be: on Linux go by its descriptor. */
function shortPath(path: string, descriptor: number): string {
  if (process.platform === 'linux') return `/proc/self/fd/${descriptor}`;
  const beside = relative(process.cwd(), path) || '.';
  const base = beside.length < path.length ? beside : path;
  if (Buffer.byteLength(base) + 32 > socketPathBytesMax) {
    throw new RefusedToStartError(
      `the path of the data directory ${path} is too long for its lock socket; choose a shorter one`,
    );
  }
  return base;
}

/** For the message to the next starter only; proves nothing. Clears what killed starters left. */
async function noteOwner(path: string): Promise<void> {
  const owner = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  await fs.promises.writeFile(join(path, ownerName), `${JSON.stringify(owner)}\n`);
  for (const name of await fs.promises.readdir(path)) {
    if (!privateName.test(name) || (await probe(join(path, name))) === 'held') continue;
    await fs.promises.unlink(join(path, name)).catch(ignoreAbsent);
  }
}

async function describeOwner(path: string): Promise<string> {
  try {
    const text = await fs.promises.readFile(join(path, ownerName), 'utf8');
    const owner = JSON.parse(text) as { pid?: unknown; host?: unknown; since?: unknown };
    return `process ${String(owner.pid)} on ${String(owner.host)} since ${String(owner.since)}`;
  } catch {
    return 'another process';
  }
}

function cannotLock(path: string, error: unknown): RefusedToStartError {
  return new RefusedToStartError(
    `cannot lock the data directory ${path} (${errorText(error)}); it must be writable and on a ` +
      'local file system that has Unix sockets and hard links',
    { cause: error },
  );
}

function ignoreAbsent(error: unknown): void {
  if (errorCode(error) !== 'ENOENT') throw error;
}
