/**
 * The table against Map<string, Buffer>: time an operation, bytes an entry, longest pause.
 *
 *     node dist/bench/table.js [entries]        default 5,000,000 entries of 16 + 128 bytes
 *
 * Each contestant runs in a process of its own, so that the growth of its resident set is its own.
 */

import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { HashTable } from '../src/table/hash-table.js';

const keyBytes = 16;
const valueBytes = 128;
const putsPerTurn = 256;
const randomOps = 2_000_000;

interface Contestant {
  readonly put: (key: Buffer, value: Buffer, version: number) => void;
  /** Something that depends on the bytes that were found, so that the work is not optimized away. */
  readonly get: (key: Buffer) => number;
}

interface Figures {
  'fill, ns a put': number;
  'replace at random, ns a put': number;
  'get at random, ns': number;
  'get at random and copy, ns': number;
  'resident bytes an entry': number;
  'longest put, ms': number;
  'longest gap of the event loop, ms': number;
  'snapshot of all, ms': number | string;
  'longest page of the snapshot, ms': number | string;
}

const table = new HashTable();
const map = new Map<string, Buffer>();
/** What a server that keeps a Map has to do: the key a string, the value a copy that it owns. */
const mapKey = (key: Buffer): string => key.toString('latin1');

const contestants: Record<string, Contestant> = {
  HashTable: {
    put: (key, value, version) => void table.put(key, value, version),
    get: (key) => table.get(key)![0]!,
  },
  'Map<string,Buffer>': {
    put: (key, value) => void map.set(mapKey(key), Buffer.from(value)),
    get: (key) => map.get(mapKey(key))![0]!,
  },
};

/** Key number `index`: a counter and a mix of it, so that keys are neither equal nor in order. */
function writeKey(key: Buffer, index: number): void {
  key.writeUInt32LE(index, 0);
  key.writeUInt32LE(Math.imul(index, 0x9e3779b1) >>> 0, 4);
  key.writeUInt32LE(Math.imul(index ^ 0x5bd1e995, 0x85ebca6b) >>> 0, 8);
}

async function measure(name: string, entries: number): Promise<Figures> {
  const contestant = contestants[name]!;
  const key = Buffer.alloc(keyBytes);
  const value = Buffer.alloc(valueBytes, 7);
  const residentBefore = process.memoryUsage.rss();

  let longestPut = 0;
  let longestGap = 0;
  let turnStart = performance.now();
  const fillStart = turnStart;
  for (let index = 0; index < entries; ) {
    const end = Math.min(entries, index + putsPerTurn);
    for (; index < end; index += 1) {
      writeKey(key, index);
      const putStart = performance.now();
      contestant.put(key, value, index);
      longestPut = Math.max(longestPut, performance.now() - putStart);
    }
    await nextTurn();
    const now = performance.now();
    longestGap = Math.max(longestGap, now - turnStart);
    turnStart = now;
  }
  const fillNs = ((performance.now() - fillStart) * 1e6) / entries;
  const resident = process.memoryUsage.rss() - residentBefore;

  const inRandomOrder = (op: (index: number) => void): number => {
    let index = 1;
    const start = performance.now();
    for (let count = 0; count < randomOps; count += 1) {
      index = (Math.imul(index, 1664525) + 1013904223) >>> 0;
      writeKey(key, index % entries);
      op(index);
    }
    return ((performance.now() - start) * 1e6) / randomOps;
  };
  let sum = 0;
  const getNs = inRandomOrder(() => (sum += contestant.get(key)));
  const copyNs = inRandomOrder(() => {
    const found = name === 'HashTable' ? table.get(key)! : map.get(mapKey(key))!;
    sum += Buffer.from(found)[0]!;
  });
  const putNs = inRandomOrder((version) => contestant.put(key, value, version));
  if (sum === 0) throw new Error('nothing was found');

  return {
    'fill, ns a put': Math.round(fillNs),
    'replace at random, ns a put': Math.round(putNs),
    'get at random, ns': Math.round(getNs),
    'get at random and copy, ns': Math.round(copyNs),
    'resident bytes an entry': Math.round(resident / entries),
    'longest put, ms': Number(longestPut.toFixed(1)),
    'longest gap of the event loop, ms': Number(longestGap.toFixed(1)),
    ...(name === 'HashTable' ? measureSnapshot() : noSnapshot),
  };
}

const noSnapshot = { 'snapshot of all, ms': '-', 'longest page of the snapshot, ms': '-' };

/** Pages of 256 KiB, each followed by a few changes that have to preserve buckets. */
function measureSnapshot(): typeof noSnapshot | Record<keyof typeof noSnapshot, number> {
  const key = Buffer.alloc(keyBytes);
  const value = Buffer.alloc(valueBytes, 8);
  const start = performance.now();
  const snapshot = table.snapshot();
  let longest = performance.now() - start;
  let read = 0;
  for (;;) {
    const pageStart = performance.now();
    const page = snapshot.next(256 * 1024);
    longest = Math.max(longest, performance.now() - pageStart);
    if (page.length === 0) break;
    read += page.length;
    for (let change = 0; change < 100; change += 1) {
      writeKey(key, (read * 31 + change * 7919) % snapshot.size);
      table.put(key, value, read);
    }
  }
  if (read !== snapshot.size) throw new Error(`read ${read} of ${snapshot.size}`);
  return {
    'snapshot of all, ms': Math.round(performance.now() - start),
    'longest page of the snapshot, ms': Number(longest.toFixed(1)),
  };
}

function compare(entries: number): void {
  const results: Record<string, Figures> = {};
  for (const name of Object.keys(contestants)) {
    const script = fileURLToPath(import.meta.url);
    const child = spawnSync(process.execPath, [script, String(entries), name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.status !== 0) throw new Error(`${name} failed with status ${child.status}`);
    results[name] = JSON.parse(child.stdout) as Figures;
  }
  console.log(`${entries} entries of ${keyBytes} + ${valueBytes} bytes, Node ${process.version}`);
  const names = Object.keys(results);
  const row = (label: string, cells: string[]): string =>
    label.padEnd(36) + cells.map((cell) => cell.padStart(20)).join('');
  console.log(row('', names));
  for (const label of Object.keys(results[names[0]!]!) as (keyof Figures)[]) {
    console.log(
      row(
        label,
        names.map((name) => String(results[name]![label])),
      ),
    );
  }
}

const entries = Number(process.argv[2] ?? 5_000_000);
const contestantName = process.argv[3];
if (contestantName === undefined) compare(entries);
else console.log(JSON.stringify(await measure(contestantName, entries)));
