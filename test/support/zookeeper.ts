/**
 * ZooKeeper for tests: the one of scripts/zookeeper.ts, and what only a test does to it.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fourLetterWord } from '../../scripts/zookeeper.js';

export {
  fourLetterWord,
  freePort,
  type LocalZooKeeper,
  missingZooKeeper,
  runZooKeeper,
  type ZooKeeperService,
} from '../../scripts/zookeeper.js';

const host = '127.0.0.1';
const probeMsMax = 1_000;
const probePauseMs = 50;

/**
 * Ends a session at the service, as if it had timed out: takes the session over and closes it. ZooKeeper derives a
 * session's password from its id alone. Its owner is stopped meanwhile, or it would connect anew and take it back.
 */
export async function expireSession(
  port: number,
  sessionId: bigint,
  ownerProcessId: number,
): Promise<void> {
  const name = `0x${sessionId.toString(16)}`;
  process.kill(ownerProcessId, 'SIGSTOP');
  try {
    await takeOverAndClose(port, sessionId);
    while ((await fourLetterWord(port, 'dump')).includes(name)) await sleep(probePauseMs);
  } finally {
    process.kill(ownerProcessId, 'SIGCONT');
  }
}

async function takeOverAndClose(port: number, sessionId: bigint): Promise<void> {
  const hello = Buffer.alloc(44);
  hello.writeInt32BE(10_000, 12);
  hello.writeBigInt64BE(BigInt.asIntN(64, sessionId), 16);
  hello.writeInt32BE(16, 24);
  sessionPassword(sessionId).copy(hello, 28);
  const closeSession = Buffer.alloc(8);
  closeSession.writeInt32BE(1, 0);
  closeSession.writeInt32BE(-11, 4);
  const packets = Buffer.concat([packet(hello), packet(closeSession)]);
  await new Promise<void>((resolve) => {
    const socket = connect({ host, port }, () => socket.write(packets));
    socket.setTimeout(probeMsMax, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    // The service closes it when the session is closed.
    socket.on('close', () => resolve());
    socket.resume();
  });
}

function packet(body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length);
  return Buffer.concat([length, body]);
}

/** `new java.util.Random(sessionId ^ 0xB3415C00L).nextBytes(16)` */
function sessionPassword(sessionId: bigint): Buffer {
  const multiplier = 0x5deece66dn;
  let seed = BigInt.asUintN(48, BigInt.asUintN(64, sessionId) ^ 0xb3415c00n ^ multiplier);
  const password = Buffer.alloc(16);
  for (let offset = 0; offset < password.length; offset += 4) {
    seed = BigInt.asUintN(48, seed * multiplier + 0xbn);
    password.writeInt32LE(Number(BigInt.asIntN(32, seed >> 16n)), offset);
  }
  return password;
}
