/**
 * A process that holds many connections to one server, each of them a client that has said who it is, or makes and
 * drops them one after the other. Spoken to over the channel of `fork`: a command, an answer.
 *
 *     { hold: 5000 }    connects so many; answers { held: 5000 } when all of them are open
 *     { churn: 2000 }   connects so many, a few at a time, and drops each in another way; answers { churned: 2000 }
 *
 * argv: the port, the address to come from (one address has not ports enough). Ends with its parent.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { encodeFrame } from '../../src/protocol/frame.js';
import { encodeOpen, protocolVersion } from '../../src/protocol/messages.js';

const [port = '', localAddress = ''] = process.argv.slice(2);
const opening = encodeFrame(encodeOpen({ version: protocolVersion, cluster: 'default' }));
const atOnce = 100;
const held: Socket[] = [];

process.on('disconnect', () => process.exit(0));
process.on('message', (command: { hold?: number; churn?: number }) => void obey(command));

async function obey({ hold, churn }: { hold?: number; churn?: number }): Promise<void> {
  if (hold !== undefined) {
    await many(hold, async () => {
      held.push(await opened());
    });
    process.send?.({ held: held.filter((socket) => !socket.destroyed).length });
  }
  if (churn !== undefined) {
    let count = 0;
    await many(churn, async () => {
      count += 1;
      // Every third says nothing before it goes.
      const socket = count % 3 === 0 ? dialed() : await opened();
      if (count % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
    });
    process.send?.({ churned: count });
  }
}

/** Does it `count` times, some at a time. */
async function many(count: number, act: () => Promise<void>): Promise<void> {
  let begun = 0;
  const work = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      await act();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

function dialed(): Socket {
  const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress });
  // What went wrong is seen by who counts the connections that are open.
  socket.on('error', () => {});
  return socket;
}

/** Resolves when the server has answered, or the connection is gone. */
async function opened(): Promise<Socket> {
  const socket = dialed();
  socket.write(opening);
  await Promise.race([once(socket, 'data'), once(socket, 'close')]).catch(() => {});
  socket.resume();
  return socket;
}
