// node --test, in this folder.

import assert from 'node:assert/strict';
import test from 'node:test';
import { amount, fingerprint, priceOf, read, seatsText, validate } from './booking.mjs';

const order = { eventId: 'e', customer: { name: ' Ada ', email: 'ada@example.org' }, seats: { standard: 2 } };
const event = { currency: 'EUR', prices: { standard: 3200, premium: 5455 } };
const post = (body, more = {}) => ({ requestContext: { http: { method: 'POST' } }, body, ...more });

test('an order is read, plain or in base64', () => {
  const wanted = { id: undefined, ...order, customer: { ...order.customer, name: 'Ada' } };
  assert.equal(read(post(JSON.stringify({ ...order, id: 'order-17' }))).id, 'order-17');
  assert.deepEqual(read(post(JSON.stringify(order))), wanted);
  const encoded = Buffer.from(JSON.stringify(order)).toString('base64');
  assert.deepEqual(read(post(encoded, { isBase64Encoded: true })), wanted);
});

test('what is no order is refused by kind', () => {
  assert.throws(() => read({ requestContext: { http: { method: 'GET' } } }), { status: 405 });
  assert.throws(() => read({}), { status: 405 });
  for (const body of [undefined, '', '{']) assert.throws(() => read(post(body)), { code: 'InvalidJson' });
  assert.throws(() => read(post('{}')), { status: 422, code: 'InvalidBooking' });
});

for (const [change, field] of [
  [{ id: 'short' }, 'id'],
  [{ id: 17 }, 'id'],
  [{ id: 'x'.repeat(37) }, 'id'],
  [{ id: 'a:b c*d?' }, 'id'],
  [{ eventId: '' }, 'eventId'],
  [{ eventId: 7 }, 'eventId'],
  [{ customer: null }, 'customer.name'],
  [{ customer: { ...order.customer, name: 'x'.repeat(81) } }, 'customer.name'],
  [{ customer: { ...order.customer, email: 'ada' } }, 'customer.email'],
  [{ seats: {} }, 'seats'],
  [{ seats: [2] }, 'seats'],
  [{ seats: { standard: 5, premium: 4 } }, 'seats'],
  [{ seats: { standard: 0 } }, 'seats.standard'],
  [{ seats: { standard: 1.5 } }, 'seats.standard'],
  [{ seats: { standard: '2' } }, 'seats.standard'],
]) {
  test(`refused: ${JSON.stringify(change).slice(0, 60)}`, () => {
    assert.equal(validate({ ...order, ...change })[0]?.field, field);
  });
}

test('all problems are told at once', () => {
  assert.deepEqual(validate(order), []);
  assert.deepEqual(validate({}).map(({ field }) => field), ['eventId', 'customer.name', 'customer.email', 'seats']);
  for (const value of [null, 'x', [order]]) assert.equal(validate(value).length, 1);
});

test('the price has a fee, and a discount for groups', () => {
  const two = priceOf({ standard: 2 }, event);
  assert.deepEqual([two.subtotal, two.discount, two.total, two.currency], [6400, 0, 6550, 'EUR']);
  const four = priceOf({ standard: 3, premium: 1 }, event);
  assert.deepEqual([four.subtotal, four.discount, four.total], [15055, 1506, 13699]);
});

test('an order has the same fingerprint however it is written, and no other has', () => {
  const print = fingerprint({ ...order, seats: { standard: 2, premium: 1 } });
  assert.equal(fingerprint({ ...order, id: 'another', seats: { premium: 1, standard: 2 } }), print);
  assert.notEqual(fingerprint({ ...order, seats: { standard: 1, premium: 2 } }), print);
  assert.notEqual(fingerprint({ ...order, eventId: 'f', seats: { standard: 2, premium: 1 } }), print);
});

test('a category that the event does not sell is refused', () => {
  for (const category of ['royal', 'toString', '__proto__']) {
    const seats = Object.fromEntries([[category, 1]]);
    assert.throws(() => priceOf(seats, event), { status: 422 }, category);
  }
});

test('texts of a ticket', () => {
  assert.deepEqual([amount(6550, 'EUR'), amount(5, 'GBP')], ['65.50 EUR', '0.05 GBP']);
  assert.equal(seatsText({ standard: 2, premium: 1 }), '2 × standard, 1 × premium');
});
