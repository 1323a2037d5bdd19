#!/usr/bin/env node
/** The program kv-server; all of it is in server-main.ts. */
import { runToExit } from './server-main.js';

runToExit(process.argv.slice(2));
