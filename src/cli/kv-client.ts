#!/usr/bin/env node
/** kv-client: commands on a cluster, see `--help`. This is only the process around client/main.ts. */
import { runClient } from './client/main.js';

const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort(new Error('Ctrl-C')));

process.exitCode = await runClient({
  args: process.argv.slice(2),
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  interrupted: interrupt.signal,
});
