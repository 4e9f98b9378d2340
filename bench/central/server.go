package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pureboot/pureboot/central"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/ent/migrate/scratch"
)

// server is a central that serves in this process, with its data, and a client of it.
type server struct {
	*world
	set             settings
	config          central.Config
	database        string
	base, token, ca string
	client          *http.Client
	log             *slog.Logger
}

// measureOn fills a database, starts a central over it and measures all rows.
func measureOn(ctx context.Context, s settings, database string) (_ []figure, err error) {
	config := central.Default()
	config.DataDir = filepath.Join(s.dir, database)
	config.Listen = "127.0.0.1:0"
	if database == "postgres" {
		// As it comes, commits reach the disk.
		postgres, err := scratch.Postgres(ctx, "fsync=on")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, postgres.Stop()) }()
		if config.Database, err = postgres.Database(ctx); err != nil {
			return nil, err
		}
	} else if database != "sqlite" {
		return nil, errors.New("no such database: want sqlite or postgres")
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) // a server's log costs what it costs
	began := time.Now()
	w, token, err := fillStore(ctx, s, config, log)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d sites and %d nodes in %v\n", database, len(w.sites), w.nodes, time.Since(began).Round(time.Second))

	c, err := central.New(ctx, central.Options{Config: config, Version: "bench", Log: log})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	ca := filepath.Join(config.DataDir, "ca.crt")
	client, err := trusting(ca)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	sv := &server{
		world: w, set: s, config: config, database: database, base: "https://" + c.Addresses()["https"], token: token, ca: ca, client: client, log: log,
	}

	var figures []figure
	for _, row := range rows {
		if !s.rows.MatchString(row.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := row.run(ctx, sv)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row.name, err)
		}
		f.row = row
		fmt.Fprintf(os.Stderr, "%s: %-20s p50 %s, p99 %s, worst %s, processor %s\n", database, row.name, brief(f.p50), brief(f.p99), brief(f.worst), f.processor())
		figures = append(figures, f)
	}
	return figures, nil
}

// fillStore fills a new database and returns what is in it, with an admin token.
func fillStore(ctx context.Context, s settings, config central.Config, log *slog.Logger) (*world, string, error) {
	st, err := store.Open(ctx, store.Options{DSN: config.Database, Dir: config.DataDir, Log: log})
	if err != nil {
		return nil, "", err
	}
	defer st.Close()
	w, err := fill(ctx, st, s.sites, s.perSite)
	if err != nil {
		return nil, "", err
	}
	if config.Database != "" { // what the autovacuum does sooner or later
		if err := analyze(ctx, config.Database); err != nil {
			return nil, "", err
		}
	}
	_, token, err := st.CreateToken(ctx, store.Actor{Name: "bench"}, store.TokenSpec{Name: "bench", Role: store.Admin})
	return w, token, errors.Join(err, st.Close())
}

func analyze(ctx context.Context, url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM ANALYZE")
	return errors.Join(err, db.Close())
}

// trusting returns a client that trusts a central's own CA.
func trusting(file string) (*http.Client, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("no certificate in " + file)
	}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}, MaxIdleConnsPerHost: 64,
	}}, nil
}

// call sends a request, and returns how long the whole answer took.
func (s *server) call(ctx context.Context, method, path string, in, out any) (time.Duration, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	res, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(res.Body)
	took := time.Since(began)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return 0, err
	}
	if res.StatusCode >= 300 {
		return 0, fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	if out != nil {
		return took, json.Unmarshal(text, out)
	}
	return took, nil
}
