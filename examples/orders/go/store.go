package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
)

const (
	connectSeconds = 3
	// A statement that takes longer has met something that will not end by waiting.
	answerSeconds = 5
	// Less than that: who waits for a lock is told so by the database. A connection that its client gives
	// up lives on there with the transaction and its locks, and the next attempt would wait for them.
	lockSeconds = answerSeconds - 1
	restedMax   = 5 * time.Minute
	attemptsMax = 6
)

// store is PostgreSQL or MariaDB by one connection, made once per instance and used by every call.
//
// An instance serves one call at a time, so one connection is a pool. Between calls it is frozen and
// notices nothing: not that the database ended the connection, nor that a firewall forgot it. Both
// drivers look at a connection that has rested before they use it, and database/sql replaces one that
// is dead or has rested for longer than it may. A connection that fails all the same is replaced and
// the transaction made again.
//
// That is safe because a transaction here may be made twice: an order has an id, which is placed once,
// and an order that is cancelled stays so.
type store struct {
	database *sql.DB
	dialect
}

// dialect is what differs: how arguments are written, one statement, and what is worth another attempt.
type dialect struct {
	insertOrder string
	hasNumbers  bool
	mayTryAgain func(error) bool
}

var postgresql = dialect{
	insertOrder: "INSERT INTO orders (id, customer) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
	hasNumbers:  true,
	mayTryAgain: func(err error) bool {
		var told *pgconn.PgError
		// serialization_failure, deadlock_detected, lock_not_available.
		return errors.As(err, &told) && strings.Contains("40001 40P01 55P03", told.Code)
	},
}

var mariadb = dialect{
	insertOrder: "INSERT IGNORE INTO orders (id, customer) VALUES (?, ?)",
	mayTryAgain: func(err error) bool {
		var told *mysql.MySQLError
		// Lock wait timeout, deadlock, record has changed since it was read.
		return errors.As(err, &told) && (told.Number == 1205 || told.Number == 1213 || told.Number == 1020)
	},
}

// unavailable is a database that cannot be reached, or is too busy.
type unavailable struct {
	text  string
	cause error
}

func (problem unavailable) Error() string { return problem.text }

// open takes `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, or `mariadb://…`; it connects to nobody.
func open(address string) (*store, error) {
	parts, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("DATABASE_URL is no URL")
	}
	made := &store{}
	driver, source := "", ""
	switch parts.Scheme {
	case "postgresql":
		made.dialect, driver = postgresql, "pgx"
		parts.RawQuery = url.Values{
			"connect_timeout":   {strconv.Itoa(connectSeconds)},
			"statement_timeout": {strconv.Itoa(answerSeconds * 1000)},
			"lock_timeout":      {strconv.Itoa(lockSeconds * 1000)},
		}.Encode()
		source = parts.String()
	case "mariadb":
		made.dialect, driver = mariadb, "mysql"
		config := mysql.NewConfig()
		config.Net, config.Addr, config.DBName = "tcp", parts.Host, strings.TrimPrefix(parts.Path, "/")
		config.User = parts.User.Username()
		config.Passwd, _ = parts.User.Password()
		config.Timeout = connectSeconds * time.Second
		config.ReadTimeout, config.WriteTimeout = answerSeconds*time.Second, answerSeconds*time.Second
		config.Params = map[string]string{"innodb_lock_wait_timeout": strconv.Itoa(lockSeconds)}
		source = config.FormatDSN()
	default:
		return nil, errors.New("DATABASE_URL must begin with postgresql: or mariadb:")
	}
	if made.database, err = sql.Open(driver, source); err != nil {
		return nil, err
	}
	made.database.SetMaxOpenConns(1)
	made.database.SetMaxIdleConns(1)
	made.database.SetConnMaxIdleTime(restedMax)
	return made, nil
}

func (store *store) connect(ctx context.Context) error {
	ctx, done := context.WithTimeout(ctx, connectSeconds*time.Second)
	defer done()
	return store.database.PingContext(ctx)
}

// statements is what a transaction may do.
type statements struct {
	*sql.Tx
	ctx context.Context
	dialect
}

// run says how many rows the statement changed.
func (all statements) run(statement string, arguments ...any) (int64, error) {
	result, err := all.ExecContext(all.ctx, all.numbered(statement), arguments...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (all statements) rows(query string, arguments ...any) (*sql.Rows, error) {
	return all.QueryContext(all.ctx, all.numbered(query), arguments...)
}

// numbered writes arguments as PostgreSQL does, `$1`, where the dialect is its.
func (dialect dialect) numbered(statement string) string {
	if !dialect.hasNumbers {
		return statement
	}
	parts := strings.Split(statement, "?")
	for at := range parts[1:] {
		parts[at] += "$" + strconv.Itoa(at+1)
	}
	return strings.Join(parts, "")
}

// transaction does `work` and commits it. It is made again where the database asks for that, or is lost.
func (store *store) transaction(ctx context.Context, work func(statements) error) error {
	hasReconnected := false
	for attempt := 1; ; attempt++ {
		err := store.attempt(ctx, work)
		switch {
		case err == nil || isRefused(err):
			return err
		case isLost(err):
			if hasReconnected {
				return unavailable{"the database cannot be reached", err}
			}
			hasReconnected = true
			continue
		case !store.mayTryAgain(err):
			return fmt.Errorf("the database refuses: %w", err)
		case attempt >= attemptsMax:
			return unavailable{"the database is too busy", err}
		}
		log.Printf("attempt %d is made again: %v", attempt, err)
		// Those who met each other must not meet again.
		time.Sleep(time.Duration(rand.Int63n(int64(20*time.Millisecond) << attempt)))
	}
}

func (store *store) attempt(ctx context.Context, work func(statements) error) error {
	ctx, done := context.WithTimeout(ctx, (connectSeconds+answerSeconds)*time.Second)
	defer done()
	transaction, err := store.database.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	if err := work(statements{transaction, ctx, store.dialect}); err != nil {
		_ = transaction.Rollback()
		return err
	}
	return transaction.Commit()
}

// isRefused says whether the function refuses it, not the database.
func isRefused(err error) bool {
	switch err.(type) {
	case InvalidOrder, UnknownProduct, OutOfStock, OrderExists, OrderNotFound:
		return true
	}
	return false
}

// isLost says whether the connection failed. What a database answered has a type of its own; of that
// 08 and 57P say that the connection ends.
func isLost(err error) bool {
	var fromPostgresql *pgconn.PgError
	if errors.As(err, &fromPostgresql) {
		return strings.HasPrefix(fromPostgresql.Code, "08") || strings.HasPrefix(fromPostgresql.Code, "57P")
	}
	var fromMariadb *mysql.MySQLError
	return !errors.As(err, &fromMariadb) || fromMariadb.Number == 1927
}
