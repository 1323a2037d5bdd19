/** A child process of data-directory.test.ts: opens the directory of its argument and reports. */

import { openDataDirectory } from '../../src/log/data-directory.js';

const path = process.argv[2] ?? '';
try {
  const directory = await openDataDirectory({ path });
  // Keeps the process alive, which the lock alone must not.
  process.on('message', () => {});
  process.send?.({ serverId: directory.identity.serverId });
} catch (error) {
  process.send?.({ refused: error instanceof Error ? error.message : String(error) });
  process.disconnect?.();
}
