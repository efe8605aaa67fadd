"""One connection to PostgreSQL or MariaDB, made once per instance and used by every call.

An instance serves one call at a time, so one connection is a pool. Between calls it is frozen and
notices nothing: not that the database ended the connection, nor that a firewall forgot it. So a
connection that has rested is asked whether it lives before it is used, one that has rested for long is
replaced unasked, and one that fails all the same is replaced and the transaction made again.

That is safe because a transaction here may be made twice: an order has an id, which is placed once,
and an order that is cancelled stays so.
"""

import random
import time
import urllib.parse

CONNECT_SECONDS = 3
# A statement that takes longer has met something that will not end by waiting.
ANSWER_SECONDS = 5
# Less than that: who waits for a lock is told so by the database. A connection that its client gives up
# lives on there with the transaction and its locks, and the next attempt would wait for them.
LOCK_SECONDS = ANSWER_SECONDS - 1
ASKED_AFTER_SECONDS = 5
REPLACED_AFTER_SECONDS = 300
ATTEMPTS = 6


class Unavailable(Exception):
    """The database cannot be reached, or is too busy; the cause says why."""


class PostgreSQL:
    """What differs: the driver, one statement, and how it says what went wrong."""

    insert_order = "INSERT INTO orders (id, customer) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING"
    # serialization_failure, deadlock_detected, lock_not_available.
    AGAIN = {"40001", "40P01", "55P03"}

    def __init__(self, url):
        import psycopg
        self.driver, self.errors, self.url = psycopg, psycopg.Error, url

    def connect(self):
        return self.driver.connect(
            host=self.url.hostname, port=self.url.port or 5432, user=self.url.username,
            password=urllib.parse.unquote(self.url.password or ""), dbname=self.url.path[1:],
            connect_timeout=CONNECT_SECONDS, tcp_user_timeout=ANSWER_SECONDS * 1000,
            keepalives_idle=ANSWER_SECONDS, keepalives_interval=1, keepalives_count=3,
            options=f"-c statement_timeout={ANSWER_SECONDS}s -c lock_timeout={LOCK_SECONDS}s")

    def may_try_again(self, error):
        return error.sqlstate in self.AGAIN

    def is_lost(self, connection, error):
        # 57P: the database shuts down, or somebody ended the connection.
        return connection.closed or (error.sqlstate or "").startswith(("08", "57P"))


class MariaDB:
    """The same of MariaDB."""

    insert_order = "INSERT IGNORE INTO orders (id, customer) VALUES (%s, %s)"
    # Lock wait timeout, deadlock, record has changed since it was read.
    AGAIN = {1205, 1213, 1020}
    # The server goes away, the connection was killed, it was closed for resting.
    LOST = {0, 1053, 1927, 2006, 2013, 2055, 4031}

    def __init__(self, url):
        import pymysql
        self.driver, self.errors, self.url = pymysql, pymysql.MySQLError, url

    def connect(self):
        connection = self.driver.connect(
            host=self.url.hostname, port=self.url.port or 3306, user=self.url.username,
            password=urllib.parse.unquote(self.url.password or ""), database=self.url.path[1:],
            charset="utf8mb4", connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
            # What PostgreSQL does unasked: each statement sees what was committed before it.
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", (LOCK_SECONDS,))
        return connection

    def may_try_again(self, error):
        return bool(error.args) and error.args[0] in self.AGAIN

    def is_lost(self, connection, error):
        return not connection.open or not error.args or error.args[0] in self.LOST


KINDS = {"postgresql": PostgreSQL, "mariadb": MariaDB}


class Database:
    def __init__(self, url):
        """`url`: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, or `mariadb://…`."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in KINDS:
            raise ValueError(f"DATABASE_URL must begin with one of {', '.join(KINDS)}")
        self.kind = KINDS[parts.scheme](parts)
        self.connection = None
        self.used = 0.0

    def connect(self):
        """A connection that lives. Raises `Unavailable`."""
        rested = time.monotonic() - self.used
        if self.connection is not None and (rested > REPLACED_AFTER_SECONDS or (
                rested > ASKED_AFTER_SECONDS and not self._lives())):
            self._drop()
        if self.connection is None:
            try:
                self.connection = self.kind.connect()
            except (self.kind.errors, OSError) as error:
                raise Unavailable("the database cannot be reached") from error
            print("connected to the database")
        self.used = time.monotonic()
        return self.connection

    def transaction(self, work):
        """What `work(sql)` returns, committed. Made again where the database asks for that."""
        has_reconnected = False
        for attempt in range(1, ATTEMPTS + 1):
            connection = self.connect()
            try:
                with connection.cursor() as cursor:
                    result = work(Statements(cursor, self.kind.insert_order))
                connection.commit()
                return result
            except (self.kind.errors, OSError) as error:
                if isinstance(error, OSError) or self.kind.is_lost(connection, error):
                    self._drop()
                    if has_reconnected:
                        raise Unavailable("the database cannot be reached") from error
                    has_reconnected = True
                    continue
                self._roll_back()
                if not self.kind.may_try_again(error):
                    raise
                if attempt == ATTEMPTS:
                    raise Unavailable("the database is too busy") from error
                print(f"attempt {attempt} is made again: {error}")
                # Those who met each other must not meet again.
                time.sleep(random.uniform(0, 0.02 * 2 ** attempt))
            except BaseException:
                # What the function itself refuses.
                self._roll_back()
                raise
            finally:
                self.used = time.monotonic()
        raise Unavailable("the database cannot be reached")

    def _lives(self):
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            self.connection.rollback()
            return True
        except (self.kind.errors, OSError):
            return False

    def _roll_back(self):
        try:
            self.connection.rollback()
        except (self.kind.errors, OSError):
            self._drop()

    def close(self):
        """Nothing is open until the next call; for a hook before a start image is made."""
        if self.connection is not None:
            self._drop()

    def _drop(self):
        try:
            self.connection.close()
        except (self.kind.errors, OSError):
            pass
        self.connection = None


class Statements:
    """What a transaction may do."""

    def __init__(self, cursor, insert_order):
        self.cursor, self.insert_order = cursor, insert_order

    def run(self, statement, *arguments):
        """How many rows it changed."""
        self.cursor.execute(statement, arguments)
        return self.cursor.rowcount

    def rows(self, query, *arguments):
        self.cursor.execute(query, arguments or None)
        return self.cursor.fetchall()
