// Books: validates and prices what a POST asks for, has `tickets` sign it, keeps it in Redis, and says
// where `poster` shows it. Finds the event with `events`. Functions are called through the AWS SDK that
// the runtime brings, with the credentials of this instance; Redis and its password are in REDIS_URL.

import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { randomUUID } from 'node:crypto';
import { Rejected, amount, fingerprint, priceOf, read, seatsText } from './booking.mjs';
import { Store, Unavailable } from './store.mjs';

// Made once per instance, so that calls share its connections.
const lambda = new LambdaClient({});
const decoder = new TextDecoder();
// Without a Redis bookings are made and not kept, and each answer says so.
const store = process.env.REDIS_URL && new Store(process.env.REDIS_URL);
// While the instance starts, which is not the caller's time. Who cannot connect now tries again.
await store?.connect().catch((error) => console.error('Redis cannot be reached yet:', error.message));

export const handler = async (event) => {
  try {
    const { isNew, ...booking } = await book(event);
    return respond(isNew ? 201 : 200, booking);
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    const { status, code, message, details } = error;
    return respond(status, { error: { code, message, ...details } }, HEADERS[status]);
  }
};

const HEADERS = { 405: { Allow: 'POST' }, 503: { 'Retry-After': '5' } };

async function book(request) {
  const order = read(request);
  const { event } = await call(process.env.EVENTS_FUNCTION ?? 'events', { action: 'find', id: order.eventId }, (failure) =>
    failure.errorType === 'EventNotFound' ? new Rejected(404, 'EventNotFound', failure.errorMessage) : undefined);
  const price = priceOf(order.seats, event);
  const booking = {
    id: order.id ?? `bk-${randomUUID().replaceAll('-', '').slice(0, 16)}`,
    event: { id: event.id, title: event.title, venue: `${event.venue}, ${event.city}`, starts: event.starts },
    customer: order.customer,
    ...price,
  };
  const { token } = await call(process.env.TICKETS_FUNCTION ?? 'tickets', {
    booking: booking.id,
    holder: order.customer.name,
    title: event.title,
    venue: booking.event.venue,
    starts: event.starts,
    seats: seatsText(order.seats),
    total: amount(price.total, price.currency),
  });
  // The last step, and the only one that changes anything: a ticket that was signed before it and is
  // not kept reaches nobody.
  return keep(order, event, { ...booking, ticket: { token } });
}

async function keep(order, event, booking) {
  if (!store) return { isNew: true, ...answer(booking), kept: false };
  const print = fingerprint(order);
  let outcome;
  try {
    outcome = await store.book(booking.id, { event, seats: order.seats }, { print, booking });
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    console.error(`${error.message}:`, error.cause);
    throw new Rejected(503, 'StoreUnavailable', 'bookings cannot be kept at the moment; the same order with the same id may be sent again');
  }
  if (outcome.soldOut) {
    const { category, left } = outcome.soldOut;
    throw new Rejected(409, 'SoldOut', 'not enough seats are left', {
      fields: [{ field: `seats.${category}`, problem: left === 0 ? 'none is left' : `only ${left} left` }],
    });
  }
  if (outcome.booked) return { isNew: true, ...answer(booking), kept: true, left: outcome.booked };
  if (outcome.kept.print !== print) {
    throw new Rejected(409, 'BookingExists', 'another order was booked with this id');
  }
  return { isNew: false, ...answer(outcome.kept.booking), kept: true };
}

// Where the poster is may change; the ticket stays.
function answer(booking) {
  const poster = process.env.POSTER_URL;
  const { token } = booking.ticket;
  return { ...booking, ticket: { token, ...(poster && { poster: poster + token }) } };
}

// Invokes another function. `known` turns a failure that it understands into an answer; any other
// is ours to log and the caller's to hear about without its inner words.
async function call(name, payload, known = () => undefined) {
  let answer;
  try {
    answer = await lambda.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(payload) }));
  } catch (error) {
    console.error(`cannot call ${name}:`, error);
    throw new Rejected(502, 'UpstreamUnavailable', `${name} cannot be reached`);
  }
  const result = JSON.parse(decoder.decode(answer.Payload));
  if (!answer.FunctionError) return result;
  const understood = known(result);
  if (understood) throw understood;
  console.error(`${name} failed:`, JSON.stringify(result));
  throw new Rejected(502, 'UpstreamFailed', `${name} could not answer`);
}

function respond(statusCode, document, headers = {}) {
  return { statusCode, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(document) };
}
