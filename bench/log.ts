/**
 * The log on a real disk. First bare files: one 512 byte write after the other, made durable by
 * O_DSYNC or by fdatasync, into zeros that were written before or at the growing end. Then the whole
 * log: records/s and append-to-durable times with 1 and 64 records waiting.
 *
 *   node dist/bench/log.js [directory on the disk to measure]
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeFully } from '../src/log/disk.js';
import { nodeDisk } from '../src/log/node-disk.js';
import { createRecord } from '../src/log/record.js';
import { SegmentedLog } from '../src/log/segmented-log.js';

const measureMs = 3000;
const directory = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'catena-bench-'));

function report(name: string, times: number[], elapsedMs: number): void {
  const sorted = times.toSorted((left, right) => left - right);
  const at = (part: number): string => (sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(3);
  const rate = Math.round((times.length / elapsedMs) * 1000);
  console.log(
    `${name.padEnd(44)} ${String(rate).padStart(8)}/s  p50 ${at(0.5)} ms  p99 ${at(0.99)} ms`,
  );
}

async function measureFile(mode: 'write-dsync' | 'write', isPreallocated: boolean): Promise<void> {
  const path = join(directory, `file-${mode}-${isPreallocated}`);
  const fileBytes = 64 * 1024 * 1024;
  const created = await nodeDisk.open(path, 'create');
  if (isPreallocated) await writeFully(created, [Buffer.alloc(fileBytes)], 0);
  await created.sync();
  await created.close();
  const file = await nodeDisk.open(path, mode);
  const buffers = [Buffer.alloc(32, 1), Buffer.alloc(480, 2)];
  const times: number[] = [];
  const start = performance.now();
  for (let at = 0; at < fileBytes && performance.now() - start < measureMs; at += 512) {
    const begin = performance.now();
    await writeFully(file, buffers, at);
    if (mode === 'write') await file.sync();
    times.push(performance.now() - begin);
  }
  const elapsedMs = performance.now() - start;
  const how = mode === 'write' ? 'write + fdatasync' : 'O_DSYNC';
  report(`file: ${how}, ${isPreallocated ? 'preallocated' : 'growing'}`, times, elapsedMs);
  await file.close();
}

async function measureLog(
  waiting: number,
  payloadBytes: number,
  segmentMiB: number,
): Promise<void> {
  const times: number[] = [];
  const begins: number[] = [];
  let durable = 0;
  let isOver = false;
  const payload = Buffer.alloc(payloadBytes, 7);
  const log = await SegmentedLog.open({
    disk: nodeDisk,
    directory: join(directory, `log-${waiting}-${payloadBytes}-${segmentMiB}`),
    segmentBytes: segmentMiB * 1024 * 1024,
    listener: {
      onDurable: (lastSeq) => {
        const now = performance.now();
        for (; durable < lastSeq; durable++) {
          times.push(now - (begins[durable] ?? 0));
          if (!isOver) append();
        }
      },
      onFatal: (error) => {
        throw error;
      },
    },
  });
  const append = (): void => {
    begins.push(performance.now());
    const firstSeq = log.lastSeq + 1;
    log.append(createRecord({ epoch: 1, firstSeq, count: 1, commit: 0 }, payload));
  };
  const start = performance.now();
  for (let count = 0; count < waiting; count++) append();
  await new Promise((resolve) => {
    setTimeout(resolve, measureMs);
  });
  isOver = true;
  report(
    `log: ${waiting} waiting, ${payloadBytes} bytes, ${segmentMiB} MiB segments`,
    times,
    performance.now() - start,
  );
  await log.close();
}

for (const isPreallocated of [false, true]) {
  for (const mode of ['write', 'write-dsync'] as const) await measureFile(mode, isPreallocated);
}
for (const segmentMiB of [4, 16, 64]) {
  await measureLog(1, 200, segmentMiB);
  await measureLog(64, 200, segmentMiB);
  await measureLog(64, 4096, segmentMiB);
}
await rm(directory, { recursive: true });
