/** However few files the process may open, some are left for what is not a client. */
import test from 'ava';
import { connectionsMax, reservedFiles, spareConnectionsMax } from '../../src/limits.js';
import { connectionLimits, connectionLimitsFor } from '../../src/server/connection-limits.js';

test('with enough descriptors: the limits of limits.ts', (t) => {
  const usual = { connectionsMax, spareConnectionsMax };
  t.deepEqual(connectionLimitsFor(Number.POSITIVE_INFINITY), usual);
  t.deepEqual(connectionLimitsFor(connectionsMax + spareConnectionsMax + reservedFiles), usual);
});

test('with fewer: all connections together leave the reserve alone, and some are no clients', (t) => {
  for (const openFiles of [96, 256, 1_024, 4_096, 20_000]) {
    const limits = connectionLimitsFor(openFiles);
    const all = limits.connectionsMax + limits.spareConnectionsMax;
    t.is(all, openFiles - reservedFiles);
    t.true(limits.connectionsMax >= all / 2);
    t.true(limits.spareConnectionsMax >= all / 20);
  }
});

test('with next to none: still a client and a link', (t) => {
  t.deepEqual(connectionLimitsFor(10), { connectionsMax: 1, spareConnectionsMax: 1 });
});

test('of this process: within the limits', (t) => {
  const limits = connectionLimits();
  t.true(limits.connectionsMax > 0 && limits.connectionsMax <= connectionsMax);
});
