/**
 * Keys that all have the same 32-bit hash, made by running the last step of MurmurHash3 backwards:
 * any first word, and the second word that brings the state to where it has to be.
 */

const multiplierA = 0xcc9e2d51;
const multiplierB = 0x1b873593;
const addend = 0xe6546b64;

export function collidingKeys(count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const key = Buffer.alloc(8);
    key.writeUInt32LE(index, 0);
    const state = mix(0, index);
    // The state that both words together must leave is 12345, for every key.
    const mixed = rotate(Math.imul(12345 - addend, inverse(5)), 19) ^ state;
    const word = Math.imul(
      rotate(Math.imul(mixed, inverse(multiplierB)), 17),
      inverse(multiplierA),
    );
    key.writeUInt32LE(word >>> 0, 4);
    return key;
  });
}

function mix(state: number, word: number): number {
  const scrambled = Math.imul(rotate(Math.imul(word, multiplierA), 15), multiplierB);
  return (Math.imul(rotate(state ^ scrambled, 13), 5) + addend) | 0;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** Of an odd number, modulo 2^32; each step of Newton's doubles the bits that are right. */
function inverse(odd: number): number {
  let guess = odd;
  for (let step = 0; step < 5; step += 1) {
    guess = Math.imul(guess, 2 - Math.imul(odd, guess));
  }
  return guess;
}
