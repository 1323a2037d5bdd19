/**
 * What the tests of the table share: keys, values that show where each byte came from, and a table
 * beside its model, a Map, whose snapshots are compared entry by entry. Not a test itself.
 */

import assert from 'node:assert/strict';

import { HashTable } from '../../src/table/hash-table.js';
import type { HashTableOptions, TableSnapshot } from '../../src/table/hash-table.js';

export interface ModelEntry {
  readonly value: Buffer;
  readonly version: number;
}

export function keyOf(index: number): Buffer {
  return Buffer.from(`key-${index}`);
}

/** Bytes that differ by seed and by place, so that swapped or shifted parts are noticed. */
export function valueOf(seed: number, bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  let state = seed * 2 + 1;
  for (let at = 0; at < bytes; at += 1) {
    state = Math.imul(state, 1664525) + 1013904223;
    value[at] = state >>> 24;
  }
  return value;
}

/** A repeatable stream of integers from 0 to below `limit`. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

interface OpenSnapshot {
  readonly snapshot: TableSnapshot;
  /** The model at the instant of the snapshot, less what the snapshot has handed out. */
  readonly missing: Map<string, ModelEntry>;
}

/** Every change goes to both; every answer is compared. */
export class CheckedTable {
  readonly table: HashTable;
  readonly model = new Map<string, ModelEntry>();
  readonly open: OpenSnapshot[] = [];
  #version = 0;

  constructor(options: HashTableOptions = {}) {
    this.table = new HashTable(options);
  }

  put(key: Buffer, value: Buffer): void {
    this.#version += 1;
    const name = key.toString('latin1');
    assert.equal(this.table.put(key, value, this.#version), this.model.has(name));
    this.model.set(name, { value, version: this.#version });
    this.get(key);
  }

  delete(key: Buffer): void {
    assert.equal(this.table.delete(key), this.model.delete(key.toString('latin1')));
    this.get(key);
  }

  get(key: Buffer): void {
    const expected = this.model.get(key.toString('latin1'));
    const value = this.table.get(key);
    assert.equal(value === undefined, expected === undefined);
    if (value !== undefined) assert.equal(Buffer.compare(value, expected!.value), 0);
    assert.equal(this.table.version(key), expected?.version);
    assert.equal(this.table.has(key), expected !== undefined);
    assert.equal(this.table.size, this.model.size);
  }

  openSnapshot(): void {
    const snapshot = this.table.snapshot();
    assert.equal(snapshot.size, this.model.size);
    this.open.push({ snapshot, missing: new Map(this.model) });
  }

  /** One page of the snapshot; when it was the last, nothing may be missing. */
  step(index: number, maxBytes: number): void {
    const { snapshot, missing } = this.open[index]!;
    const page = snapshot.next(maxBytes);
    let bytes = 0;
    for (const { key, value, version } of page) {
      const name = Buffer.from(key).toString('latin1');
      const expected = missing.get(name);
      assert.ok(expected !== undefined, `${name} was not in the table, or comes twice`);
      assert.equal(Buffer.compare(value, expected.value), 0);
      assert.equal(version, expected.version);
      missing.delete(name);
      bytes += key.length + value.length;
    }
    assert.ok(page.length <= 1 || bytes <= maxBytes);
    if (page.length > 0) return;
    assert.equal(missing.size, 0);
    this.open.splice(index, 1);
  }

  closeSnapshot(index: number): void {
    const [closed] = this.open.splice(index, 1);
    closed!.snapshot.close();
    closed!.snapshot.close();
    assert.deepEqual(closed!.snapshot.next(1000), []);
  }

  /** Reads every open snapshot to its end, then the table itself, and empties it. */
  finish(): void {
    while (this.open.length > 0) this.step(0, 5000);
    this.openSnapshot();
    while (this.open.length > 0) this.step(0, 5000);
    for (const name of this.model.keys()) this.get(Buffer.from(name, 'latin1'));
    for (const name of this.model.keys()) this.delete(Buffer.from(name, 'latin1'));
  }
}
