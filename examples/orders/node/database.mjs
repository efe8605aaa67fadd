// One connection to PostgreSQL or MariaDB, made once per instance and used by every call.
//
// An instance serves one call at a time, so one connection is a pool. Between calls it is frozen and
// notices nothing: not that the database ended the connection, nor that a firewall forgot it. So a
// connection that has rested is asked whether it lives before it is used, one that has rested for long
// is replaced unasked, and one that fails all the same is replaced and the transaction made again.
//
// That is safe because a transaction here may be made twice: an order has an id, which is placed once,
// and an order that is cancelled stays so.

const CONNECT_MS = 3000;
// A statement that takes longer has met something that will not end by waiting.
const ANSWER_MS = 5000;
// Less than that: who waits for a lock is told so by the database. A connection that its client gives up
// lives on there with the transaction and its locks, and the next attempt would wait for them.
const LOCK_MS = ANSWER_MS - 1000;
const ASKED_AFTER_MS = 5000;
const REPLACED_AFTER_MS = 300_000;
const ATTEMPTS = 6;

/** The database cannot be reached, or is too busy; the cause says why. */
export class Unavailable extends Error {}

// What differs: the driver, how arguments are written, one statement, and how a driver says what went
// wrong. `query` answers `{changed, rows}`.
const KINDS = {
  'postgresql:': {
    insertOrder: 'INSERT INTO orders (id, customer) VALUES (?, ?) ON CONFLICT (id) DO NOTHING',
    async connect(url) {
      const { default: pg } = await import('pg');
      const client = new pg.Client({
        connectionString: url, connectionTimeoutMillis: CONNECT_MS, query_timeout: ANSWER_MS,
        statement_timeout: ANSWER_MS, lock_timeout: LOCK_MS, keepAlive: true,
      });
      // Whoever waits for an answer hears of it; without this the process would end.
      client.on('error', () => {});
      await client.connect();
      return client;
    },
    async query(client, statement, values) {
      let at = 0;
      const { rowCount, rows } = await client.query(statement.replace(/\?/g, () => `$${++at}`), values);
      return { changed: rowCount, rows };
    },
    close: (client) => client.end(),
    // serialization_failure, deadlock_detected, lock_not_available.
    mayTryAgain: (error) => ['40001', '40P01', '55P03'].includes(error.code),
    // An answer of the database has a severity; what has none is the connection's. 57P: it shuts down,
    // or somebody ended the connection.
    isLost: (error) => !error.severity || /^(08|57P)/.test(error.code),
  },
  'mariadb:': {
    insertOrder: 'INSERT IGNORE INTO orders (id, customer) VALUES (?, ?)',
    async connect(url) {
      const { default: mysql } = await import('mysql2/promise');
      const { hostname, port, username, password, pathname } = new URL(url);
      const connection = await mysql.createConnection({
        host: hostname, port: Number(port || 3306), user: username, password: decodeURIComponent(password),
        database: pathname.slice(1), charset: 'utf8mb4', connectTimeout: CONNECT_MS, enableKeepAlive: true,
      });
      connection.on('error', () => {});
      // What PostgreSQL does unasked: each statement sees what was committed before it.
      await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
      await connection.query(`SET SESSION innodb_lock_wait_timeout = ${LOCK_MS / 1000}`);
      return connection;
    },
    async query(connection, statement, values) {
      const [result] = await connection.query({ sql: statement, timeout: ANSWER_MS }, values);
      return Array.isArray(result) ? { changed: 0, rows: result } : { changed: result.affectedRows, rows: [] };
    },
    // At once: who asks politely waits for an answer.
    close: async (connection) => connection.destroy(),
    // Lock wait timeout, deadlock, record has changed since it was read.
    mayTryAgain: (error) => [1205, 1213, 1020].includes(error.errno),
    // An answer of the database has a state. The server goes away, the connection was killed, or closed
    // for resting.
    isLost: (error) => !error.sqlState || error.fatal || [1053, 1927, 4031].includes(error.errno),
  },
};

export class Database {
  #url;
  #kind;
  #connection;
  #used = 0;

  /** `url`: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, or `mariadb://…`. */
  constructor(url) {
    this.#url = url;
    this.#kind = KINDS[new URL(url).protocol];
    if (!this.#kind) throw new Error('DATABASE_URL must begin with postgresql: or mariadb:');
  }

  /** A connection that lives. Throws `Unavailable`. */
  async connect() {
    const rested = performance.now() - this.#used;
    if (this.#connection && (rested > REPLACED_AFTER_MS || (rested > ASKED_AFTER_MS && !(await this.#lives())))) {
      this.#drop();
    }
    if (!this.#connection) {
      try {
        this.#connection = await this.#kind.connect(this.#url);
      } catch (error) {
        throw new Unavailable('the database cannot be reached', { cause: error });
      }
      console.log('connected to the database');
    }
    this.#used = performance.now();
    return this.#connection;
  }

  /** What `work(sql)` resolves to, committed. Made again where the database asks for that. */
  async transaction(work) {
    let hasReconnected = false;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const connection = await this.connect();
      const ask = (statement, ...values) => this.#kind.query(connection, statement, values);
      const sql = {
        insertOrder: this.#kind.insertOrder,
        run: async (...asked) => (await ask(...asked).catch(told)).changed,
        rows: async (...asked) => (await ask(...asked).catch(told)).rows,
      };
      try {
        await ask('BEGIN').catch(told);
        const result = await work(sql);
        await ask('COMMIT').catch(told);
        return result;
      } catch (error) {
        if (!(error instanceof Told)) {
          // What the function itself refuses.
          await this.#rollBack();
          throw error;
        }
        const { cause } = error;
        if (this.#kind.isLost(cause)) {
          this.#drop();
          if (hasReconnected) throw new Unavailable('the database cannot be reached', { cause });
          hasReconnected = true;
          continue;
        }
        await this.#rollBack();
        if (!this.#kind.mayTryAgain(cause)) throw cause;
        if (attempt === ATTEMPTS) throw new Unavailable('the database is too busy', { cause });
        console.log(`attempt ${attempt} is made again: ${cause.message}`);
        // Those who met each other must not meet again.
        await new Promise((done) => setTimeout(done, Math.random() * 20 * 2 ** attempt));
      } finally {
        this.#used = performance.now();
      }
    }
    throw new Unavailable('the database cannot be reached');
  }

  async #lives() {
    try {
      await this.#kind.query(this.#connection, 'SELECT 1', []);
      return true;
    } catch {
      return false;
    }
  }

  async #rollBack() {
    try {
      await this.#kind.query(this.#connection, 'ROLLBACK', []);
    } catch {
      this.#drop();
    }
  }

  #drop() {
    const connection = this.#connection;
    this.#connection = undefined;
    // Its end is nobody's concern.
    Promise.resolve(this.#kind.close(connection)).catch(() => {});
  }
}

/** What a driver said, as against what the function refuses. */
class Told extends Error {}

function told(error) {
  throw new Told(error.message, { cause: error });
}
