// Keeps bookings in Redis, so that no seat is sold twice, whichever instance sells it.
//
//   seats:EVENT:START   hash: category → seats sold of that performance
//   booking:ID          what was answered, ticket included
//
// A booking is one script, and Redis runs one script at a time: it is made whole or not at all. It is
// made once for an id: whoever asks again, because an answer was lost, gets what was kept. That is
// also why a script whose answer did not come may simply be sent again.
//
// An instance serves one call at a time, so it has one connection, made once and used by every call.
// Between calls it is frozen and notices nothing: not that Redis ended the connection, nor that a
// firewall forgot it. So nothing here runs in the background. A connection is looked at when it is
// needed, and a dead one is replaced on the spot.

import { createClient, ErrorReply } from '@redis/client';

// A booking takes Redis well below a millisecond; what takes this long does not come. A machine that
// stalls is given more.
const ANSWER_MS = Number(process.env.REDIS_ANSWER_MS ?? 1000);
const CONNECT_MS = ANSWER_MS;
// Performances and their bookings are of no use to anybody after that.
const KEPT_DAYS = 30;

const BOOK = `
local kept = redis.call('GET', KEYS[2])
if kept then return {'kept', kept} end
for at = 3, #ARGV, 3 do
  local left = ARGV[at + 2] - (redis.call('HGET', KEYS[1], ARGV[at]) or 0)
  if tonumber(ARGV[at + 1]) > left then return {'soldOut', ARGV[at], tostring(math.max(left, 0))} end
end
local answer = {'booked'}
for at = 3, #ARGV, 3 do
  local sold = redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
  table.insert(answer, ARGV[at])
  table.insert(answer, tostring(ARGV[at + 2] - sold))
end
redis.call('EXPIREAT', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'EXAT', ARGV[1])
return answer
`;

/** Redis cannot be asked; the cause says why. */
export class Unavailable extends Error {}

export class Store {
  #url;
  #client;

  /** `url`: `redis://USER:PASSWORD@HOST:PORT`. */
  constructor(url) {
    this.#url = url;
  }

  /**
   * Keeps `document` as the booking `id` of `{event: {id, starts, capacity}, seats}`.
   *
   * Returns `{booked: {category: left}}`, `{kept: document}` where the id was booked before, or
   * `{soldOut: {category, left}}`. Throws `Unavailable`.
   */
  async book(id, { event, seats }, document) {
    const expires = Math.floor(Date.parse(event.starts) / 1000) + KEPT_DAYS * 86400;
    const wanted = Object.entries(seats).flatMap(([category, count]) => [category, count, event.capacity[category]]);
    const [outcome, ...rest] = await this.#run({
      keys: [`seats:${event.id}:${event.starts}`, `booking:${id}`],
      arguments: [expires, JSON.stringify(document), ...wanted].map(String),
    });
    if (outcome === 'kept') return { kept: JSON.parse(rest[0]) };
    if (outcome === 'soldOut') return { soldOut: { category: rest[0], left: Number(rest[1]) } };
    const left = {};
    for (let at = 0; at < rest.length; at += 2) left[rest[at]] = Number(rest[at + 1]);
    return { booked: left };
  }

  /** Connects, so that the first call need not. */
  async connect() {
    if (this.#client?.isReady) return this.#client;
    this.#drop();
    const client = createClient({
      url: this.#url,
      // A frozen process reconnects to nobody.
      socket: { connectTimeout: CONNECT_MS, reconnectStrategy: false },
      disableOfflineQueue: true,
      // Its user may do what is done here, and that is not among it.
      disableClientInfo: true,
    });
    // Whoever waits for an answer hears of it; without this the process would end.
    client.on('error', () => {});
    this.#client = client;
    await within(2 * CONNECT_MS, client.connect());
    console.log('connected to Redis');
    return client;
  }

  async #run(call) {
    for (let attempt = 1; ; attempt++) {
      try {
        const client = await this.connect();
        return await within(ANSWER_MS, client.eval(BOOK, call));
      } catch (error) {
        // Redis answered, and what it says will not change: no rights, no memory, a fault of ours.
        if (error instanceof ErrorReply) throw new Unavailable('Redis refused', { cause: error });
        this.#drop();
        if (attempt === 2) throw new Unavailable('Redis cannot be reached', { cause: error });
      }
    }
  }

  #drop() {
    const client = this.#client;
    this.#client = undefined;
    if (client?.isOpen) client.destroy();
  }
}

/** What `promise` becomes, if it does so in time. */
async function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  // Who loses the race may still fail, with nobody left to hear of it.
  promise.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
