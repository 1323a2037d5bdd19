/** `backup`: the whole table at one instant, into a file. */
import { writeBackup } from '../../backup/write-backup.js';
import { BadRequestError } from '../../errors.js';
import { counted, sizeText } from '../../text.js';
import type { Command } from './command.js';
import { exitCodes } from './exit-codes.js';
import { ProgressBar } from './progress.js';
import { textOf } from './words.js';
import { releaseText } from '../release.js';

export const backup: Command = {
  name: 'backup',
  operands: ['file'],
  options: ['force', 'quiet', 'at'],
  summary: 'write the table of one instant to a file',
  details: [
    'Writes go on meanwhile; the file holds what was there at one op, which is printed. It appears under its',
    'name when it is whole and on disk. --force replaces a file that is there, --quiet shows no progress.',
    'Check it with: kv-server restore --check FILE. Restore it with: kv-server restore FILE --data DIR',
  ].join('\n'),
  example: 'backup monday.backup',
  async run({ operands: [operand], at, force, quiet }, context) {
    const { client, output, signal, cluster, terminal } = context;
    const path = textOf(operand as Uint8Array);
    if (path === undefined) throw new BadRequestError('the name of the file is no UTF-8');
    const isShown = terminal !== undefined && quiet !== true && !output.isJson;
    const bar = isShown ? new ProgressBar(terminal) : undefined;
    try {
      const made = await writeBackup(client, {
        path,
        cluster,
        writtenBy: `kv-client ${releaseText()}`,
        force: force === true,
        ...(at === undefined ? {} : { at }),
        signal,
        onProgress: ({ keys, totalKeys, bytes }) => {
          bar?.update({ done: keys, total: totalKeys, bytes });
        },
      });
      bar?.end();
      const { opId, keys, bytes } = made;
      if (output.isJson) output.json(made);
      else output.line(`op ${opId}, ${counted(keys, 'key')}, ${sizeText(bytes)}, in ${made.path}`);
      return exitCodes.done;
    } finally {
      bar?.end();
    }
  },
};
