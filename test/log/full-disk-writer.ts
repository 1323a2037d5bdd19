/**
 * A child process of disk-full.test.ts: appends to the log in the directory of its argument until that
 * fails, and reports what it was told. Run it where files may not become large.
 */

import { nodeDisk } from '../../src/log/node-disk.js';
import { SegmentedLog } from '../../src/log/segmented-log.js';
import { makeRecord } from './support.js';

const report = { early: '', fatal: '', durableSeq: 0 };
const [, , directory = '', segmentBytes] = process.argv;

const log = await SegmentedLog.open({
  disk: nodeDisk,
  directory,
  segmentBytes: Number(segmentBytes),
  listener: {
    onDurable(seq) {
      report.durableSeq = seq;
      log.append(makeRecord(seq + 1, { bytes: 1000 }));
    },
    onDiskFull(error) {
      report.early = `${error.code}: ${error.message}`;
    },
    onFatal(error) {
      report.fatal = `${error.code}: ${error.message}`;
      process.stdout.write(`${JSON.stringify(report)}\n`);
    },
  },
});
log.append(makeRecord(log.lastSeq + 1, { bytes: 1000 }));
