/** The command line of kv-client. Pure; what is wrong throws BadRequestError. */
import { parseArgs } from 'node:util';
import { BadRequestError } from '../../errors.js';
import { clusterDefault, clientTimeoutMsDefault } from '../../limits.js';
import { parseAddresses, formatAddress } from '../../protocol/address.js';
import { type CommandOptions, flagsOf } from './invocation.js';
import { wordsHelp } from './shell.js';

/** As many digits as it may have. */
const timeoutMsMax = 999_999_999;
const zookeeperDefault = '127.0.0.1:2181';

export interface ClientOptions {
  readonly action: 'run' | 'help' | 'version';
  /** `host:port` each; empty if ZooKeeper is to tell. */
  readonly servers: readonly string[];
  readonly zookeeper: string;
  readonly cluster: string;
  readonly isJson: boolean;
  readonly timeoutMs: number;
  /** Operands are read as words of a line are. */
  readonly isEscaped: boolean;
  readonly commandOptions: CommandOptions;
  /** The command's name and operands; empty: read commands from standard input. */
  readonly command: readonly string[];
}

export const helpText = `Usage: kv-client [<zookeeper> | --servers host:port,…] [options] [command …]

Without a command: commands from standard input, one a line; at a terminal with a prompt.
Which cluster: <zookeeper> ([host:]port, or several with commas), or --servers, or else the
environment variables CATENA_SERVERS, CATENA_ZOOKEEPER, or else ZooKeeper at ${zookeeperDefault}.

Commands
  put [--no-wait] <key> <value…>    del [--no-wait] <key>      get [--at host:port] <key>
  size [--at …]   keys [--at …]     table [--at …]             verify <op>
  chain [--watch] stats             leave [--force] <server>
  backup [--force] [--quiet] [--at …] <file>                   help [command]   quit

Options
  --servers LIST   some servers of the cluster, [host:]port with commas; no ZooKeeper needed
  --cluster NAME   one ZooKeeper serves several clusters (${clusterDefault})
  --json           one JSON object a result; bytes as text, or {"base64": …} if they are no UTF-8
  --timeout MS     of each command (${clientTimeoutMsDefault})
  --at HOST:PORT   get, size, keys, table, backup: read from this very server
  --no-wait        put, del: print the op id once it is assigned; verify tells what became of it
  --force          backup: replace the file; leave: also the only member of the chain
  --quiet          backup: no progress bar
  --watch          chain: go on printing it at each change, until Ctrl-C
  -e, --escaped    read the operands as in a line at the prompt: in quotes, \\xNN is a byte
  --help, --version
Write -- before operands that begin with a dash. The value - is standard input: put key - < file

Results are raw bytes in a pipe, and escaped on a terminal. Of get alone, nothing follows the value in a pipe.
In lines (at the prompt, or piped in):
${wordsHelp}

Exit codes: 0 done, 1 absent (verify: never), 2 wrong usage, 3 unavailable: certainly not done,
            4 outcome unknown: verify the op id that is printed. Of many commands: the highest of theirs.
`;

/** `env`: of the process. */
export function parseClientOptions(args: readonly string[], env: NodeJS.ProcessEnv): ClientOptions {
  const { values, positionals } = parsed(args);
  const [first] = positionals;
  const isZooKeeper = first !== undefined && looksLikeAddresses(first);
  if (isZooKeeper && values.servers !== undefined) {
    throw new BadRequestError(`give a ZooKeeper (${first}) or --servers, not both`);
  }
  const servers = isZooKeeper ? undefined : (values.servers ?? env['CATENA_SERVERS']);
  const zookeeper = isZooKeeper ? first : (env['CATENA_ZOOKEEPER'] ?? zookeeperDefault);
  return {
    action: values.help === true ? 'help' : values.version === true ? 'version' : 'run',
    servers:
      servers === undefined || servers === '' ? [] : parseAddresses(servers).map(formatAddress),
    zookeeper: parseAddresses(zookeeper).map(formatAddress).join(','),
    cluster: values.cluster ?? clusterDefault,
    isJson: values.json === true,
    timeoutMs: timeoutOf(values.timeout),
    isEscaped: values.escaped === true,
    commandOptions: {
      ...flagsOf(values),
      ...(values.at === undefined ? {} : { at: values.at }),
    },
    command: isZooKeeper ? positionals.slice(1) : positionals,
  };
}

function parsed(args: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        servers: text,
        cluster: text,
        json: flag,
        timeout: text,
        at: text,
        'no-wait': flag,
        force: flag,
        quiet: flag,
        watch: flag,
        escaped: { ...flag, short: 'e' },
        help: { ...flag, short: 'h' },
        version: flag,
      },
    });
  } catch (error) {
    throw new BadRequestError(error instanceof Error ? error.message : String(error));
  }
}

/** No command looks like this, and no address is without digits at its end. */
function looksLikeAddresses(text: string): boolean {
  return text.split(',').every((part) => /^(\S*:)?\d{1,5}$/.test(part));
}

function timeoutOf(text: string | undefined): number {
  if (text === undefined) return clientTimeoutMsDefault;
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Number(text);
  const range = `a whole number of ms from 1 to ${timeoutMsMax}`;
  throw new BadRequestError(`--timeout takes ${range}, not '${text}'`);
}
