// The rules of a booking, without any call: what is accepted, and what it costs.
// Money is whole cents, so that sums are exact.

import { createHash } from 'node:crypto';

const SEATS_MAX = 8;
const NAME_MAX_CHARS = 80;
const FEE_CENTS = 150;
const GROUP_FROM = 4;
const GROUP_PERCENT = 10;

/** A booking that cannot be made; carries what an HTTP client hears. */
export class Rejected extends Error {
  constructor(status, code, message, details = {}) {
    super(message);
    Object.assign(this, { status, code, details });
  }
}

/** The order in a function URL's event: `{id?, eventId, customer: {name, email}, seats: {category: count}}`. */
export function read(request) {
  if (request?.requestContext?.http?.method !== 'POST') {
    throw new Rejected(405, 'MethodNotAllowed', 'a booking is made with POST');
  }
  const body = request.body ?? '';
  let order;
  try {
    order = JSON.parse(request.isBase64Encoded ? Buffer.from(body, 'base64').toString('utf8') : body);
  } catch {
    throw new Rejected(400, 'InvalidJson', 'the body is not JSON');
  }
  const problems = validate(order);
  if (problems.length > 0) {
    throw new Rejected(422, 'InvalidBooking', 'the booking cannot be made as it is', { fields: problems });
  }
  const { id, eventId, customer, seats } = order;
  return { id, eventId, customer: { name: customer.name.trim(), email: customer.email }, seats };
}

/** Everything that is wrong with an order, as `{field, problem}`. */
export function validate(order) {
  if (!isObject(order)) return [{ field: '', problem: 'must be an object' }];
  const problems = [];
  const expect = (holds, field, problem) => holds || problems.push({ field, problem });
  // The caller's name for this booking: who sends it again books once.
  expect(order.id === undefined || (typeof order.id === 'string' && /^[A-Za-z0-9-]{8,36}$/.test(order.id)), 'id', 'must be 8 to 36 letters, digits and hyphens');
  expect(isText(order.eventId, 64), 'eventId', 'must name an event');
  const customer = isObject(order.customer) ? order.customer : {};
  expect(isText(customer.name, NAME_MAX_CHARS), 'customer.name', `must be a text of 1 to ${NAME_MAX_CHARS} characters`);
  expect(isText(customer.email, 254) && /^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(customer.email), 'customer.email', 'must be an address');
  const seats = isObject(order.seats) ? Object.entries(order.seats) : [];
  expect(seats.length > 0, 'seats', 'must say how many of which category');
  for (const [category, count] of seats) {
    expect(Number.isInteger(count) && count > 0, `seats.${category.slice(0, 40)}`, 'must be a whole number above 0');
  }
  const sum = seats.reduce((total, [, count]) => total + (Number.isInteger(count) ? count : 0), 0);
  expect(sum <= SEATS_MAX, 'seats', `must be ${SEATS_MAX} together at most`);
  return problems;
}

/** What the seats cost: lines, group discount, fee, total. */
export function priceOf(seats, { prices, currency }) {
  const lines = Object.entries(seats).map(([category, count]) => {
    if (!Object.hasOwn(prices, category)) {
      const has = Object.keys(prices).join(', ');
      throw new Rejected(422, 'InvalidBooking', 'the booking cannot be made as it is', {
        fields: [{ field: `seats.${category.slice(0, 40)}`, problem: `must be a category of this event: ${has}` }],
      });
    }
    return { category, count, each: prices[category], sum: count * prices[category] };
  });
  const count = lines.reduce((total, line) => total + line.count, 0);
  const subtotal = lines.reduce((total, line) => total + line.sum, 0);
  const discount = count >= GROUP_FROM ? Math.round((subtotal * GROUP_PERCENT) / 100) : 0;
  return { lines, subtotal, discount, fee: FEE_CENTS, total: subtotal - discount + FEE_CENTS, currency };
}

/** The same for the same order, however it was written. */
export function fingerprint({ eventId, customer: { name, email }, seats }) {
  const sorted = Object.entries(seats).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify([eventId, name, email, sorted])).digest('hex');
}

/** `6550` as `65.50 EUR`. */
export function amount(cents, currency) {
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')} ${currency}`;
}

export function seatsText(seats) {
  return Object.entries(seats).map(([category, count]) => `${count} × ${category}`).join(', ');
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value, longest) {
  return typeof value === 'string' && value.trim() !== '' && value.length <= longest;
}
