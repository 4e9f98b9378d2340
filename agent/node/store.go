// Package node knows the machines of this site. Central has the truth; what it said is kept here, so that a machine
// is booted from this copy while central is slow or away. A lookup goes the same way each time: a fresh copy, else
// central, else the copy however old it is.
package node

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	_ "modernc.org/sqlite" // the driver

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
)

// Central is what the store needs of central. An answer that is no success is a *wire.Refusal; any other error means
// that central was not reached.
type Central interface {
	BootByMAC(ctx context.Context, mac, uuid string) (wire.Boot, error)
	BootByID(ctx context.Context, id string) (wire.Boot, error)
	Register(ctx context.Context, r wire.Registration) (wire.Node, error)
	ChangeState(ctx context.Context, id string, change wire.StateChange) (wire.Node, error)
	Event(ctx context.Context, id string, e wire.Event) (wire.Node, error)
	Online() bool // whether it is worth waiting for an answer
}

// Options of a Store.
type Options struct {
	Dir      string        // of nodes.db
	Central  Central       // nil while the agent is not enrolled
	TTL      time.Duration // for which a copy is fresh; zero means 5 minutes
	Patience time.Duration // for central while a copy could be served instead; zero means 2 seconds
	Log      *slog.Logger
}

// Store is the site's copy of its nodes in SQLite. It is safe for concurrent use.
type Store struct {
	opt     Options
	write   *sql.DB // one connection: writers wait here, not in SQLite
	read    *sql.DB
	flight  singleflight.Group // lookups at central, by MAC or id
	arrival *rate.Limiter      // of unknown machines
	facts   chan wire.Registration

	ctx  context.Context // of what is asked of central; ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // lookups under way

	mu   sync.Mutex
	seen map[string]time.Time // mac -> last boot request
}

var (
	// ErrUnknown means that central knows no such node.
	ErrUnknown = errors.New("no such node")
	// ErrUnavailable means that central could not be asked and there is no copy.
	ErrUnavailable = errors.New("central cannot be reached, and this site has no record of the machine")
	// ErrTooMany means that unknown machines arrive faster than the site registers them.
	ErrTooMany = errors.New("too many unknown machines at once")
)

// Unknown machines are registered at this pace: a rack at once, then a few a second.
const (
	arrivalsPerSecond = 5
	arrivalsAtOnce    = 256
)

//go:embed migrations/*.sql
var migrations embed.FS

// Open opens or creates the store.
func Open(ctx context.Context, opt Options) (*Store, error) {
	if opt.TTL == 0 {
		opt.TTL = 5 * time.Minute
	}
	if opt.Patience == 0 {
		opt.Patience = 2 * time.Second
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	s := &Store{
		opt:     opt,
		arrival: rate.NewLimiter(arrivalsPerSecond, arrivalsAtOnce),
		facts:   make(chan wire.Registration, arrivalsAtOnce),
		seen:    map[string]time.Time{},
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the node store: %w", err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	dsn := "file:" + filepath.Join(s.opt.Dir, "nodes.db") +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock="
	var err error
	if s.write, err = sql.Open("sqlite", dsn+"immediate"); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.read, err = sql.Open("sqlite", dsn+"deferred"); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(4)
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, dir)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Close waits for what is under way and closes the database.
func (s *Store) Close() error {
	s.stop()
	s.work.Wait()
	var err error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// Record is a node as the site knows it.
type Record struct {
	wire.Boot
	FetchedAt time.Time
	Source    Source
}

// Source says where a record came from.
type Source string

// The sources of a record.
const (
	Fresh       Source = "local"   // a fresh copy
	FromCentral Source = "central" // asked for now
	Stale       Source = "stale"   // an old copy, because central did not answer
)

// Install returns what decides the node's boots.
func (r *Record) Install() lifecycle.Install { return install(&r.Node) }

func install(n *wire.Node) lifecycle.Install {
	in := lifecycle.Install{
		State: lifecycle.State(n.State), Seq: n.InstallSeq, Attempts: n.InstallAttempts, LastError: n.LastInstallError,
	}
	if n.InstallStartedAt != nil {
		in.StartedAt = *n.InstallStartedAt
	}
	return in
}

// copyOf reads the site's copy of the node that the query finds.
func (s *Store) copyOf(ctx context.Context, where string, arg any) (rec Record, expired bool, err error) {
	var boot []byte
	var at int64
	err = s.read.QueryRowContext(ctx, "SELECT boot, fetched_at, expired FROM nodes WHERE "+where, arg).Scan(&boot, &at, &expired)
	if errors.Is(err, sql.ErrNoRows) {
		return rec, false, ErrUnknown
	}
	if err == nil {
		err = json.Unmarshal(boot, &rec.Boot)
	}
	if err != nil {
		return rec, false, fmt.Errorf("read the copy of a node: %w", err)
	}
	rec.FetchedAt = time.UnixMilli(at)
	return rec, expired, nil
}

const (
	byID   = "id = ?"
	byMAC  = "id = (SELECT node_id FROM macs WHERE mac = ?)"
	byUUID = "system_uuid = ?"
)

// put keeps what central said of a node, unless reports of the node wait for central: until they are delivered the
// copy is ahead of it. It returns the copy as it is afterwards.
func (s *Store) put(ctx context.Context, boot wire.Boot) (Record, error) {
	rec := Record{Boot: boot, FetchedAt: time.Now(), Source: FromCentral}
	err := s.tx(ctx, func(tx *sql.Tx) error {
		waiting, err := waiting(ctx, tx, boot.Node.ID)
		if err != nil || waiting == 0 {
			return errors.Join(err, save(ctx, tx, rec))
		}
		// The workflow and the parameters are central's; the node itself stays as its reports made it.
		ahead, err := copyIn(ctx, tx, boot.Node.ID)
		switch {
		case errors.Is(err, ErrUnknown):
			return save(ctx, tx, rec)
		case err != nil:
			return err
		}
		rec.Node = ahead.Node
		return save(ctx, tx, rec)
	})
	if err != nil {
		return rec, fmt.Errorf("keep node %s: %w", boot.Node.ID, err)
	}
	return rec, nil
}

// save writes the row of a node and those of its MAC addresses.
func save(ctx context.Context, tx *sql.Tx, rec Record) error {
	text, err := json.Marshal(rec.Boot)
	if err != nil {
		return err
	}
	n := &rec.Node
	_, err = tx.ExecContext(ctx, `INSERT INTO nodes (id, system_uuid, boot, fetched_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET system_uuid = excluded.system_uuid, boot = excluded.boot,
			fetched_at = excluded.fetched_at, expired = 0`,
		n.ID, n.SystemUUID, text, rec.FetchedAt.UnixMilli())
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM macs WHERE node_id = ?", n.ID); err != nil {
		return err
	}
	macs := map[string]bool{n.MACAddress: true}
	for _, i := range n.Interfaces {
		macs[i.MACAddress] = true
	}
	for mac := range macs {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO macs (mac, node_id) VALUES (?, ?)", mac, n.ID); err != nil {
			return err
		}
	}
	return nil
}

// forget drops the copy of a node that central no longer has.
func (s *Store) forget(ctx context.Context, id string) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM nodes WHERE id = ?", id)
	return err
}

func (s *Store) tx(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}
