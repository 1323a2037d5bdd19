/** Op ids and addresses as people type them. */
import test from 'ava';
import * as fc from 'fast-check';
import { BadRequestError } from '../../src/errors.js';
import { formatAddress, parseAddress, parseAddresses } from '../../src/protocol/address.js';
import { formatOpId, parseOpId } from '../../src/protocol/op-id.js';

test('op ids are read as they are printed', (t) => {
  const number = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(number, number, (epoch, seq) => {
      t.deepEqual(parseOpId(formatOpId({ epoch, seq })), { epoch, seq });
    }),
  );
});

for (const text of ['', '1', '1-', '-1', '0-1', '1-0', '1-2-3', '1--2', ' 1-2', '1-2\n', 'a-b']) {
  test(`'${JSON.stringify(text)}' is no op id`, (t) => {
    t.throws(() => parseOpId(text), { instanceOf: BadRequestError });
  });
}

test('an op id beyond safe integers is none', (t) => {
  t.throws(() => parseOpId('9007199254740992-1'), { instanceOf: BadRequestError });
  t.throws(() => parseOpId('1-9999999999999999'), { instanceOf: BadRequestError });
  t.throws(() => parseOpId(`1-${'9'.repeat(400)}`), { instanceOf: BadRequestError });
});

test('addresses', (t) => {
  t.deepEqual(parseAddress('5000'), { host: '127.0.0.1', port: 5000 });
  t.deepEqual(parseAddress('db.example.org:2181'), { host: 'db.example.org', port: 2181 });
  t.deepEqual(parseAddress('[::1]:5000'), { host: '::1', port: 5000 });
  t.is(formatAddress({ host: '::1', port: 5000 }), '[::1]:5000');
  t.deepEqual(parseAddresses('5000, 10.0.0.7:5001'), [
    { host: '127.0.0.1', port: 5000 },
    { host: '10.0.0.7', port: 5001 },
  ]);
});

const noAddresses = ['', ':', ':5000', 'host', 'host:', 'host:x', '65536', '5000:', '::1:5000'];
for (const text of noAddresses.concat(
  '-1',
  '5000 ',
  'a,b:1',
  'http://h:1',
  '[::1]',
  '1.5',
  '5000\n',
)) {
  test(`${JSON.stringify(text)} is no address`, (t) => {
    t.throws(() => parseAddress(text), { instanceOf: BadRequestError });
  });
}

test('no address in a list may be missing', (t) => {
  t.throws(() => parseAddresses('5000,,5001'), { instanceOf: BadRequestError });
  t.throws(() => parseAddresses(''), { instanceOf: BadRequestError });
});
