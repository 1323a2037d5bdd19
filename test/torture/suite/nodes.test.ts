/** FAULTS P1 to P6, C1, D1 to D7, O1, O2, Z1 to Z5 on real processes: one fault of a server, a disk or ZooKeeper a run. */
import { nodeRuns } from '../short-runs.js';
import { shortRunTests } from './short-runs.js';

await shortRunTests('nodes', nodeRuns());
