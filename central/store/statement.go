package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"

	"modernc.org/sqlite"
)

// What a connection keeps of the statements that it prepared. One takes 5 to 50 kB; a longer text is one of many rows,
// which hardly comes again.
const (
	keptStatements = 64
	keptText       = 4 << 10 // bytes
)

// openKeeping opens an SQLite database by connections that keep statements.
func openKeeping(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(keeping{c}), nil
}

// keeping makes connections that keep what they have prepared for the next time that the same text is asked for: to
// parse and plan the queries of a request takes SQLite as long as to run them. A statement that is kept holds no lock,
// and SQLite itself prepares it anew when the schema has changed.
type keeping struct{ driver.Connector }

func (k keeping) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := k.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &keepingConn{sqliteConn: c.(sqliteConn)}, nil
}

// sqliteConn is what database/sql may use of the driver's connection. Without QueryerContext and ExecerContext among it
// each query goes by PrepareContext, and its statement is closed when its rows are.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// keepingConn has database/sql's lock of the connection whenever one of its methods or of its statements' runs.
type keepingConn struct {
	sqliteConn
	idle []*keptStatement // the one that was used last at the end
}

// PrepareContext implements driver.ConnPrepareContext. What it hands out is not among the idle ones: a transaction may
// ask for the same text again while it still reads the rows of the first.
func (c *keepingConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	for i, s := range slices.Backward(c.idle) {
		if s.text == text {
			c.idle = slices.Delete(c.idle, i, i+1)
			return s, nil
		}
	}
	s, err := c.sqliteConn.PrepareContext(ctx, text)
	if err != nil || len(text) > keptText {
		return s, err
	}
	return &keptStatement{sqliteStatement: s.(sqliteStatement), text: text, conn: c}, nil
}

// Close closes the statements first: SQLite would keep a connection that has any.
func (c *keepingConn) Close() error {
	for _, s := range c.idle {
		s.end()
	}
	c.idle = nil
	return c.sqliteConn.Close()
}

type sqliteStatement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// keptStatement is a statement that becomes idle where others are closed. The driver has reset it by then, whether it
// ran to its end or not.
type keptStatement struct {
	sqliteStatement
	text string
	conn *keepingConn
}

// Close implements driver.Stmt.
func (s *keptStatement) Close() error {
	c := s.conn
	if len(c.idle) == keptStatements {
		c.idle[0].end()
		c.idle = slices.Delete(c.idle, 0, 1)
	}
	c.idle = append(c.idle, s)
	return nil
}

// end closes the statement for good. SQLite has only the error of its last run to tell, which is told already.
func (s *keptStatement) end() { _ = s.sqliteStatement.Close() }
