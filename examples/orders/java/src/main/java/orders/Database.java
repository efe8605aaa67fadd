package orders;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URI;
import java.net.URLDecoder;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLNonTransientConnectionException;
import java.sql.SQLRecoverableException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/**
 * One connection to PostgreSQL or MariaDB, made once per instance and used by every call.
 *
 * <p>An instance serves one call at a time, so one connection is a pool, and a pool's threads would be
 * frozen with the rest. Between calls an instance is frozen and notices nothing: not that the database
 * ended the connection, nor that a firewall forgot it. So a connection that has rested is asked whether
 * it lives before it is used, one that has rested for long is replaced unasked, and one that fails all
 * the same is replaced and the transaction made again.
 *
 * <p>That is safe because a transaction here may be made twice: an order has an id, which is placed
 * once, and an order that is cancelled stays so.
 */
final class Database {
    private static final int CONNECT_SECONDS = 3;
    /** A statement that takes longer has met something that will not end by waiting. */
    private static final int ANSWER_SECONDS = 5;
    /**
     * Less than that: who waits for a lock is told so by the database. A connection that its client gives
     * up lives on there with the transaction and its locks, and the next attempt would wait for them.
     */
    private static final int LOCK_SECONDS = ANSWER_SECONDS - 1;
    private static final long ASKED_AFTER_NANOS = 5_000_000_000L;
    private static final long REPLACED_AFTER_NANOS = 300_000_000_000L;
    private static final int ATTEMPTS = 6;

    /** The database cannot be reached, or is too busy; the cause says why. */
    static final class Unavailable extends Exception {
        private static final long serialVersionUID = 1;

        Unavailable(String message, SQLException cause) {
            super(message, cause);
        }
    }

    /** What differs: the driver, its settings, one statement, and what is worth another attempt. */
    private enum Kind {
        POSTGRESQL("org.postgresql.Driver", 5432,
                "INSERT INTO orders (id, customer) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
                // In seconds; the options go to the server.
                List.of("connectTimeout=" + CONNECT_SECONDS, "socketTimeout=" + (ANSWER_SECONDS + 1),
                        "tcpKeepAlive=true", "options=-c statement_timeout=" + ANSWER_SECONDS
                                + "s -c lock_timeout=" + LOCK_SECONDS + "s"),
                // serialization_failure, deadlock_detected, lock_not_available.
                Set.of("40001", "40P01", "55P03"), Set.of()),
        MARIADB("org.mariadb.jdbc.Driver", 3306,
                "INSERT IGNORE INTO orders (id, customer) VALUES (?, ?)",
                // In milliseconds.
                List.of("connectTimeout=" + CONNECT_SECONDS * 1000, "socketTimeout=" + ANSWER_SECONDS * 1000,
                        "tcpKeepAlive=true", "sessionVariables=innodb_lock_wait_timeout=" + LOCK_SECONDS),
                Set.of(),
                // Lock wait timeout, deadlock, record has changed since it was read.
                Set.of(1205, 1213, 1020));

        final String driver;
        final int port;
        final String insertOrder;
        final List<String> settings;
        final Set<String> statesAgain;
        final Set<Integer> numbersAgain;

        Kind(String driver, int port, String insertOrder, List<String> settings, Set<String> statesAgain,
                Set<Integer> numbersAgain) {
            this.driver = driver;
            this.port = port;
            this.insertOrder = insertOrder;
            this.settings = settings;
            this.statesAgain = statesAgain;
            this.numbersAgain = numbersAgain;
        }

        boolean mayTryAgain(SQLException error) {
            return statesAgain.contains(String.valueOf(error.getSQLState()))
                    || numbersAgain.contains(error.getErrorCode());
        }

        /** 08: the connection's; 57P: the database shuts down, or somebody ended the connection. */
        boolean isLost(SQLException error) {
            String state = String.valueOf(error.getSQLState());
            return state.startsWith("08") || state.startsWith("57P") || error.getErrorCode() == 1927
                    || error instanceof SQLNonTransientConnectionException
                    || error instanceof SQLRecoverableException;
        }
    }

    /** What a transaction does. */
    interface Work<T> {
        T with(Statements sql) throws SQLException;
    }

    /** What it may do. */
    record Statements(Connection connection, String insertOrder) {
        /** How many rows it changed. */
        int run(String statement, Object... arguments) throws SQLException {
            try (PreparedStatement prepared = prepared(statement, arguments)) {
                return prepared.executeUpdate();
            }
        }

        List<List<Object>> rows(String query, Object... arguments) throws SQLException {
            try (PreparedStatement prepared = prepared(query, arguments);
                    ResultSet result = prepared.executeQuery()) {
                List<List<Object>> rows = new ArrayList<>();
                while (result.next()) {
                    List<Object> row = new ArrayList<>();
                    for (int at = 1; at <= result.getMetaData().getColumnCount(); at++) {
                        row.add(result.getObject(at));
                    }
                    rows.add(row);
                }
                return rows;
            }
        }

        private PreparedStatement prepared(String statement, Object... arguments) throws SQLException {
            PreparedStatement prepared = connection.prepareStatement(statement);
            for (int at = 0; at < arguments.length; at++) {
                prepared.setObject(at + 1, arguments[at]);
            }
            return prepared;
        }
    }

    private final Kind kind;
    private final String url;
    private final Properties properties = new Properties();
    private Connection connection;
    private long used;

    /** {@code url}: {@code postgresql://USER:PASSWORD@HOST:PORT/DATABASE}, or {@code mariadb://…}. */
    Database(String url) {
        URI parts = URI.create(String.valueOf(url));
        kind = switch (String.valueOf(parts.getScheme())) {
            case "postgresql" -> Kind.POSTGRESQL;
            case "mariadb" -> Kind.MARIADB;
            default -> throw new IllegalStateException("DATABASE_URL must begin with postgresql: or mariadb:");
        };
        int port = parts.getPort() > 0 ? parts.getPort() : kind.port;
        this.url = "jdbc:" + parts.getScheme() + "://" + parts.getHost() + ":" + port + parts.getPath();
        String[] user = parts.getRawUserInfo().split(":", 2);
        properties.setProperty("user", URLDecoder.decode(user[0], UTF_8));
        properties.setProperty("password", URLDecoder.decode(user[1], UTF_8));
        for (String setting : kind.settings) {
            String[] pair = setting.split("=", 2);
            properties.setProperty(pair[0], pair[1]);
        }
        try {
            // DriverManager would look for drivers with the loader that it was loaded by.
            Class.forName(kind.driver);
        } catch (ClassNotFoundException problem) {
            throw new IllegalStateException(problem);
        }
    }

    /** A connection that lives. */
    Connection connect() throws Unavailable {
        long rested = System.nanoTime() - used;
        if (connection != null && (rested > REPLACED_AFTER_NANOS || rested > ASKED_AFTER_NANOS && !lives())) {
            drop();
        }
        if (connection == null) {
            try {
                Connection made = DriverManager.getConnection(url, properties);
                made.setAutoCommit(false);
                // MariaDB's default is another: here each statement sees what was committed before it.
                made.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
                connection = made;
            } catch (SQLException problem) {
                throw new Unavailable("the database cannot be reached", problem);
            }
            System.out.println("connected to the database");
        }
        used = System.nanoTime();
        return connection;
    }

    /** What {@code work} returns, committed. Made again where the database asks for that. */
    <T> T transaction(Work<T> work) throws SQLException, Unavailable {
        boolean hasReconnected = false;
        for (int attempt = 1; ; attempt++) {
            Connection current = connect();
            try {
                T result = work.with(new Statements(current, kind.insertOrder));
                current.commit();
                return result;
            } catch (SQLException problem) {
                if (kind.isLost(problem)) {
                    drop();
                    if (hasReconnected) {
                        throw new Unavailable("the database cannot be reached", problem);
                    }
                    hasReconnected = true;
                    continue;
                }
                rollBack();
                if (!kind.mayTryAgain(problem)) {
                    throw problem;
                }
                if (attempt >= ATTEMPTS) {
                    throw new Unavailable("the database is too busy", problem);
                }
                System.out.println("attempt " + attempt + " is made again: " + problem.getMessage());
                rest(attempt);
            } catch (RuntimeException refused) {
                rollBack();
                throw refused;
            } finally {
                used = System.nanoTime();
            }
        }
    }

    /** Those who met each other must not meet again. */
    private static void rest(int attempt) {
        try {
            Thread.sleep(ThreadLocalRandom.current().nextLong(20L << attempt));
        } catch (InterruptedException ended) {
            Thread.currentThread().interrupt();
        }
    }

    private boolean lives() {
        try {
            return connection.isValid(ANSWER_SECONDS);
        } catch (SQLException problem) {
            return false;
        }
    }

    private void rollBack() {
        try {
            connection.rollback();
        } catch (SQLException problem) {
            drop();
        }
    }

    private void drop() {
        try {
            connection.close();
        } catch (SQLException problem) {
            // It was lost already.
        }
        connection = null;
    }
}
