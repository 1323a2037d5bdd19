/**
 * Texts: what ZooKeeper holds (`/chain`, registrations, their names), what people type (addresses, op ids), and the
 * small checked files. ZooKeeper and the command line are believed to hold anything at all.
 */
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import {
  type Configuration,
  formatConfiguration,
  type Member,
  parseConfiguration,
} from '../../../src/coordination/configuration.js';
import {
  formatRegistration,
  parseNodeName,
  parseRegistration,
} from '../../../src/coordination/registry.js';
import { readCheckedJson, writeCheckedJson } from '../../../src/log/checked-json.js';
import { MemoryDisk } from '../../../src/log/memory-disk.js';
import { formatAddress, parseAddress, parseAddresses } from '../../../src/protocol/address.js';
import { formatOpId, parseOpId } from '../../../src/protocol/op-id.js';
import type { Random } from '../../support/random.js';
import { mutatedJson } from '../json-mutations.js';
import {
  assertHolds,
  type Target,
  unlessRefused,
  unlessRefusedLater,
  type Verdict,
  words,
} from '../target.js';

const members: readonly Member[] = [1, 2, 3].map((number) => ({
  serverId: `s${number}`,
  incarnation: `i${number}`,
  address: `10.0.0.${number}:5000`,
}));
const configurations: readonly Configuration[] = [members, members.slice(0, 1)].map((chain) => ({
  clusterId: 'c',
  generation: 1,
  epoch: 7,
  configId: 'id',
  members: chain,
  left: chain.length === 1 ? [members[2] as Member] : [],
  change: { kind: 'removal', reason: '10.0.0.9:5000 refuses connections', by: '10.0.0.1:5000' },
  restartEpoch: 4,
}));
const jsonWords = words(
  'null',
  '{}',
  '[]',
  '""',
  '1e999',
  '-1',
  '"members":',
  '"__proto__":',
  '\\u0000',
  ',',
);

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function fieldsAre(value: object, names: readonly string[]): boolean {
  return isDeepStrictEqual(Object.keys(value).sort(), [...names].sort());
}

/** The membership rules, written down a second time (docs/protocol.md, Znodes). */
function assertConfiguration(value: Configuration): void {
  const { members, left, change } = value;
  assertHolds(
    fieldsAre(value, [
      'clusterId',
      'generation',
      'epoch',
      'configId',
      'members',
      'left',
      'change',
      'restartEpoch',
    ]) && fieldsAre(change, ['kind', 'reason', 'by']),
    'a configuration has fields that no release wrote',
  );
  assertHolds(isName(value.clusterId) && isName(value.configId), 'an id is no name');
  const { generation, epoch, restartEpoch } = value;
  assertHolds([generation, epoch, restartEpoch].every(isCount), 'a number is none');
  assertHolds(epoch >= 1 && restartEpoch <= epoch && generation >= 1, 'a number cannot be');
  const kinds = ['first', 'removal', 'admission', 'restart', 'leave', 'fence', 'recover'];
  assertHolds(kinds.includes(change.kind), `a change of kind '${change.kind}'`);
  assertHolds(typeof change.reason === 'string' && typeof change.by === 'string', 'no reason');
  assertHolds(members.length > 0, 'a chain of nobody');
  for (const list of [members, left]) {
    assertHolds(new Set(list.map(({ serverId }) => serverId)).size === list.length, 'twice one');
    for (const member of list) {
      assertHolds(fieldsAre(member, ['serverId', 'incarnation', 'address']), 'a strange member');
      assertHolds(Object.values(member).every(isName), 'a member without a name');
    }
  }
}

function checkChain(input: Buffer): Verdict {
  const configuration = parseConfiguration(input.toString('utf8'));
  if (configuration === undefined) return 'refused';
  assertConfiguration(configuration);
  const written = JSON.parse(input.toString('utf8')) as Configuration;
  const isWhole =
    written.members.length === configuration.members.length &&
    written.left.length === configuration.left.length;
  assertHolds(isWhole, 'members were left out');
  const text = formatConfiguration(configuration);
  const again = parseConfiguration(text);
  const isSame = again !== undefined && formatConfiguration(again) === text;
  assertHolds(isSame, 'it is another one when it is read back');
  return 'accepted';
}

function checkRegistration(input: Buffer): Verdict {
  const registration = parseRegistration(input.toString('utf8'));
  if (registration === undefined) return 'refused';
  const { serverId, incarnation, address, state } = registration;
  assertHolds([serverId, incarnation, address].every(isName), 'a registration without a name');
  assertHolds(['learner', 'member', 'leaving'].includes(state), 'a state that is none');
  const again = parseRegistration(formatRegistration(registration));
  assertHolds(isDeepStrictEqual(again, registration), 'it is another one when it is read back');
  return 'accepted';
}

function checkNodeName(input: Buffer): Verdict {
  const name = input.toString('utf8');
  const parsed = parseNodeName(name);
  if (parsed === undefined) return 'refused';
  const { guid, sequence } = parsed;
  assertHolds(sequence === Math.trunc(sequence) && Math.abs(sequence) <= 2 ** 31, 'no sequence');
  assertHolds(name.startsWith(`${guid}-`), 'a guid that the name does not have');
  return 'accepted';
}

function checkAddress(input: Buffer): Verdict {
  const text = input.toString('utf8');
  const address = unlessRefused(() => parseAddress(text));
  const list = unlessRefused(() => parseAddresses(text));
  if (address !== undefined) {
    const { host, port } = address;
    assertHolds(Number.isInteger(port) && port >= 0 && port <= 65_535, `port ${port}`);
    assertHolds(host !== '', 'no host');
    assertHolds(isDeepStrictEqual(parseAddress(formatAddress(address)), address), 'another one');
    assertHolds(list?.length === 1, 'alone it is an address, in a list it is not');
  }
  return list === undefined ? 'refused' : 'accepted';
}

function checkOpId(input: Buffer): Verdict {
  const opId = unlessRefused(() => parseOpId(input.toString('utf8')));
  if (opId === undefined) return 'refused';
  assertHolds(
    Object.values(opId).every((n) => Number.isSafeInteger(n) && n >= 1),
    'no op id',
  );
  assertHolds(isDeepStrictEqual(parseOpId(formatOpId(opId)), opId), 'another one');
  return 'accepted';
}

const path = '/data/meta.json';
const contents: readonly object[] = [
  { configuration: configurations[0] },
  {
    serverId: 's',
    clusterId: 'c',
    origin: '1:2',
    restored: { clusterId: 'c', opId: '1-2', isWhole: true },
  },
];

async function diskWith(bytes: Uint8Array): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await (await disk.open(path, 'create')).write([bytes], 0);
  return disk;
}

async function fileOf(content: object): Promise<Buffer> {
  const disk = new MemoryDisk();
  await writeCheckedJson(disk, path, content);
  return disk.contents(path);
}

/** The same file with another content, and the checksum of that. */
function sealed(content: string): Buffer {
  return Buffer.from(`{"formatVersion":1,"crc32":${crc32(`1${content}`)},"content":${content}}\n`);
}

/** A checksum of 32 bits lets no change of a few bytes pass; what has a right one is any object, and nothing else. */
async function checkFile(input: Buffer): Promise<Verdict> {
  const disk = await diskWith(input);
  const value = await unlessRefusedLater(() => readCheckedJson(disk, path));
  if (value === undefined) return 'refused';
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  assertHolds(isObject, 'the content is no object');
  const content = /"content":(.*)\}\n$/su.exec(input.toString('utf8'))?.[1] ?? '';
  assertHolds(sealed(content).equals(input), 'it is not what was written');
  return 'accepted';
}

function jsonMutation(original: Uint8Array, random: Random): Uint8Array {
  return Buffer.from(mutatedJson(parsed(original), random));
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return configurations[0];
  }
}

/** Half of them under a right checksum, some of those no JSON at all. */
function fileMutation(original: Uint8Array, random: Random): Uint8Array {
  const envelope = parsed(original) as { content?: unknown } | null;
  const text = mutatedJson(envelope?.content ?? null, random);
  return sealed(random(4) === 0 ? text.slice(0, random(text.length)) : text);
}

export async function textTargets(): Promise<Target[]> {
  const chains = configurations.map((each) => Buffer.from(formatConfiguration(each)));
  const registrations = (['learner', 'member', 'leaving'] as const).map((state) =>
    Buffer.from(formatRegistration({ ...(members[0] as Member), state })),
  );
  const json = { bytesMax: 16_384, dictionary: jsonWords, mutate: jsonMutation };
  const text = { bytesMax: 256 };
  return [
    { ...json, name: 'chain', inputs: 60_000, corpus: chains, check: checkChain },
    {
      ...json,
      name: 'registration',
      inputs: 60_000,
      corpus: registrations,
      check: checkRegistration,
    },
    {
      ...text,
      name: 'node name',
      inputs: 100_000,
      corpus: words('guid-0000000001', 'a-b--2147483648', 'x-2147483647'),
      dictionary: words('-', '-0000000000', '9999999999'),
      check: checkNodeName,
    },
    {
      ...text,
      name: 'address',
      inputs: 100_000,
      corpus: words('5000', 'localhost:5000', '[::1]:65535', '10.0.0.7:1,[fe80::1]:2'),
      dictionary: words(':', '[', ']', '::', '65536', ',', ' ', '00000', '%'),
      check: checkAddress,
    },
    {
      ...text,
      name: 'op id',
      inputs: 100_000,
      corpus: words('1-1', '3-1024', '9007199254740991-9007199254740991'),
      dictionary: words('-', '0', '9007199254740992', '1e3', '0x1', ' '),
      check: checkOpId,
    },
    {
      ...json,
      mutate: fileMutation,
      name: 'checked json',
      inputs: 40_000,
      corpus: await Promise.all(contents.map(fileOf)),
      check: checkFile,
    },
  ];
}
