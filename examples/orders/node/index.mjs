// Places, lists and cancels orders; see ../README.md for what goes in and comes out.
//
// What goes wrong is an error here; Lambda hands its name to a caller as `errorType`.

import { Database, Unavailable } from './database.mjs';

const LINES_MAX = 20;
const QUANTITY_MAX = 1000;
const LISTED_MAX = 50;

class Refused extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

const database = new Database(process.env.DATABASE_URL);
// While the instance starts, which is not the caller's time. Who cannot connect now tries again.
await database.connect().catch((error) => console.log('the database cannot be reached yet:', error.message));

export const handler = async (event) => {
  if (!isObject(event)) throw invalid('the call must be an object with an action');
  if (typeof event.action !== 'string' || !Object.hasOwn(ACTIONS, event.action)) {
    throw invalid(`action must be one of ${Object.keys(ACTIONS).join(', ')}`);
  }
  try {
    return await ACTIONS[event.action](event);
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    console.log(`${error.message}:`, error.cause?.message);
    throw new Refused('DatabaseUnavailable', error.message);
  }
};

const ACTIONS = {
  async place(event) {
    const [id, customer, lines] = [key(event, 'id'), text(event, 'customer'), linesOf(event)];
    const order = await database.transaction(async (sql) => {
      if ((await sql.run(sql.insertOrder, id, customer)) === 0) {
        // Placed before: the answer was lost, or another order has the id.
        const order = await read(sql, id);
        const isSame = order.customer === customer && order.lines.length === lines.length
          && order.lines.every(({ sku, quantity }, at) => sku === lines[at].sku && quantity === lines[at].quantity);
        if (!isSame) throw new Refused('OrderExists', `another order was placed as ${id}`);
        return order;
      }
      for (const { sku, quantity } of lines) {
        // The condition is what keeps stock from falling below zero, whoever else buys now.
        if ((await sql.run('UPDATE products SET stock = stock - ? WHERE sku = ? AND stock >= ?', quantity, sku, quantity)) === 0) {
          const [left] = await sql.rows('SELECT stock FROM products WHERE sku = ?', sku);
          if (!left) throw new Refused('UnknownProduct', `there is no product ${sku}`);
          throw new Refused('OutOfStock', `${left.stock} of ${sku} are left, not ${quantity}`);
        }
        await sql.run(
          'INSERT INTO order_lines (order_id, sku, quantity, price)'
          + ' SELECT ?, sku, ?, price FROM products WHERE sku = ?', id, quantity, sku);
      }
      return read(sql, id);
    });
    return { order };
  },

  async cancel(event) {
    const id = key(event, 'id');
    const order = await database.transaction(async (sql) => {
      const changed = await sql.run("UPDATE orders SET status = 'cancelled' WHERE id = ? AND status = 'placed'", id);
      const order = await read(sql, id);
      // Cancelled once: a second call gives nothing back.
      for (const { sku, quantity } of changed ? order.lines : []) {
        await sql.run('UPDATE products SET stock = stock + ? WHERE sku = ?', quantity, sku);
      }
      return order;
    });
    return { order };
  },

  async list(event) {
    const customer = text(event, 'customer');
    const chosen = `SELECT * FROM orders WHERE customer = ? ORDER BY placed DESC, id LIMIT ${LISTED_MAX}`;
    return { orders: await database.transaction((sql) => ordersIn(sql, chosen, customer)) };
  },

  async stock() {
    const rows = await database.transaction((sql) => sql.rows('SELECT sku, stock FROM products ORDER BY sku LIMIT 1000'));
    return { stock: Object.fromEntries(rows.map(({ sku, stock }) => [sku, stock])) };
  },
};

async function read(sql, id) {
  const [order] = await ordersIn(sql, 'SELECT * FROM orders WHERE id = ?', id);
  if (!order) throw new Refused('OrderNotFound', `there is no order ${id}`);
  return order;
}

/** The orders that a query chooses, with their lines, newest first. */
async function ordersIn(sql, chosen, argument) {
  const orders = new Map();
  const rows = await sql.rows(
    'SELECT o.id, o.customer, o.status, l.sku, l.quantity, l.price'
    + ` FROM (${chosen}) o JOIN order_lines l ON l.order_id = o.id`
    + ' ORDER BY o.placed DESC, o.id, l.sku', argument);
  for (const { id, customer, status, sku, quantity, price } of rows) {
    if (!orders.has(id)) orders.set(id, { id, customer, status, total: 0, lines: [] });
    const order = orders.get(id);
    order.lines.push({ sku, quantity, price });
    order.total += quantity * price;
  }
  return [...orders.values()];
}

function key(holder, field) {
  const value = holder[field];
  if (typeof value !== 'string' || !/^[A-Za-z0-9-]{1,40}$/.test(value)) {
    throw invalid(`${field} must be 1 to 40 letters, digits and hyphens`);
  }
  return value;
}

function text(event, field) {
  const value = event[field];
  // Neither database keeps a zero, and half of a surrogate pair is no text.
  if (typeof value !== 'string' || [...value].length < 1 || [...value].length > 80 || /[\0\p{Surrogate}]/u.test(value)) {
    throw invalid(`${field} must be a text of 1 to 80 characters`);
  }
  return value;
}

/** By name, so that two orders for the same products wait for each other in the same order. */
function linesOf(event) {
  const given = event.lines;
  if (!Array.isArray(given) || given.length < 1 || given.length > LINES_MAX) {
    throw invalid(`lines must have 1 to ${LINES_MAX} entries`);
  }
  const lines = new Map();
  for (const line of given) {
    if (!isObject(line)) throw invalid('each of lines must be an object');
    const [sku, quantity] = [key(line, 'sku'), line.quantity];
    if (lines.has(sku)) throw invalid(`lines has ${sku} twice`);
    if (!Number.isInteger(quantity) || quantity < 1 || quantity > QUANTITY_MAX) {
      throw invalid(`quantity must be from 1 to ${QUANTITY_MAX}`);
    }
    lines.set(sku, { sku, quantity });
  }
  return [...lines.values()].sort((a, b) => (a.sku < b.sku ? -1 : 1));
}

const invalid = (message) => new Refused('InvalidOrder', message);
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
