/** FAULTS N1 to N7 on real processes: one fault of a link a run. */
import { linkRuns } from '../short-runs.js';
import { shortRunTests } from './short-runs.js';

await shortRunTests('links', linkRuns());
