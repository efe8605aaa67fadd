// Books: validates and prices what a POST asks for, has `tickets` sign it, and says where `poster`
// shows it. Finds the event with `events`. All through the AWS SDK that the runtime brings, with
// the credentials of this instance: nothing here knows a key or an address of the platform.

import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import { randomUUID } from 'node:crypto';
import { Rejected, amount, priceOf, read, seatsText } from './booking.mjs';

// Made once per instance, so that calls share its connections.
const lambda = new LambdaClient({});
const decoder = new TextDecoder();

export const handler = async (event) => {
  try {
    return respond(201, await book(event));
  } catch (error) {
    if (!(error instanceof Rejected)) throw error;
    const { status, code, message, details } = error;
    return respond(status, { error: { code, message, ...details } }, status === 405 ? { Allow: 'POST' } : {});
  }
};

async function book(request) {
  const order = read(request);
  const { event } = await call(process.env.EVENTS_FUNCTION ?? 'events', { action: 'find', id: order.eventId }, (failure) =>
    failure.errorType === 'EventNotFound' ? new Rejected(404, 'EventNotFound', failure.errorMessage) : undefined);
  const price = priceOf(order.seats, event);
  const booking = {
    id: `bk-${randomUUID().slice(0, 8)}`,
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
  const poster = process.env.POSTER_URL;
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
