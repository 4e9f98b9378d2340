package central

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caarlos0/env/v11"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"
)

// DefaultConfigFile is read when no other file is named; it may be missing.
const DefaultConfigFile = "/etc/pureboot/central.yaml"

// Config is central.yaml. Each key may also be set in the environment: tls.cert as PUREBOOT_CENTRAL_TLS_CERT.
type Config struct {
	DataDir   string `yaml:"data_dir" env:"DATA_DIR"`
	Listen    string `yaml:"listen" env:"LISTEN"`         // address of HTTPS; port 0 takes a free one
	PublicURL string `yaml:"public_url" env:"PUBLIC_URL"` // what agents and people use
	TLS       TLS    `yaml:"tls" envPrefix:"TLS_"`
	Database  string `yaml:"database" env:"DATABASE"` // empty: SQLite in DataDir; else its path, or postgres://
	Content   string `yaml:"content" env:"CONTENT"`   // folder of the boot files; empty: in DataDir
}

// TLS says what central shows to prove who it is. Without Cert it makes a CA of its own, and a certificate for its
// names.
type TLS struct {
	Cert  string   `yaml:"cert" env:"CERT"`   // PEM file: the certificate, then the chain up to the CA
	Key   string   `yaml:"key" env:"KEY"`     // PEM file
	Names []string `yaml:"names" env:"NAMES"` // more names and addresses for the certificate; commas in the environment
}

// Default returns the configuration of a central that nobody configured.
func Default() Config {
	return Config{DataDir: "/var/lib/pureboot-central", Listen: ":8443"}
}

// Load returns the defaults, overridden by the file and then by the environment, NAME=value each. An empty file name
// means DefaultConfigFile, if there is one. An unknown key is an error that names its line.
func Load(file string, environment []string) (Config, error) {
	c := Default()
	named := file != ""
	if !named {
		file = DefaultConfigFile
	}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
	case err != nil:
		return c, fmt.Errorf("read the configuration: %w", err)
	default:
		if c, err = decode(text); err != nil {
			return c, atLine(file, err)
		}
	}
	options := env.Options{Prefix: "PUREBOOT_CENTRAL_", Environment: env.ToMap(environment)}
	if err := env.ParseWithOptions(&c, options); err != nil {
		return c, fmt.Errorf("read the environment: %w", err)
	}
	return c, nil
}

// decode reads a file over the defaults. One in which every key is commented out is empty to the decoder, which then
// empties what it was given too.
func decode(text []byte) (Config, error) {
	c := Default()
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c)
	if errors.Is(err, io.EOF) {
		return Default(), nil
	}
	return c, err
}

// atLine says where in the file a fault is. It does not quote the file, which may hold a password.
func atLine(file string, err error) error {
	var at interface {
		error
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", file, at.GetToken().Position.Line, at.GetMessage())
	}
	return fmt.Errorf("%s: %s", file, yaml.FormatError(err, false, false))
}

// Validate returns every fault at once, each naming its key.
func (c Config) Validate() error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.DataDir == "" {
		fault("data_dir", "missing")
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		fault("listen", "%q: want HOST:PORT or :PORT", c.Listen)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		fault("listen", "%q: the port is not a number up to 65535", c.Listen)
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" {
			fault("public_url", "want https://HOST[:PORT]")
		} else if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			fault("public_url", "want https://HOST[:PORT] and nothing more")
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		fault("tls", "cert and key go together")
	}
	for _, name := range c.TLS.Names {
		if !validName(name) {
			fault("tls.names", "%q is neither a host name nor an IP address", name)
		}
	}
	if scheme, _, ok := strings.Cut(c.Database, "://"); ok && scheme != "postgres" && scheme != "postgresql" {
		fault("database", "want the path of an SQLite file or a postgres:// URL")
	}
	if scheme, _, ok := strings.Cut(c.Content, "://"); ok {
		fault("content", "want the path of a folder; %s:// is not supported", scheme)
	}
	return errors.Join(faults...)
}

// validName says whether a certificate can be made for a name: an IP address, or a host name whose first label may be
// a star.
func validName(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	host := strings.TrimPrefix(name, "*.")
	if host == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		odd := strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
		})
		if label == "" || len(label) > 63 || odd || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return true
}

// contentDir is where the boot files are.
func (c Config) contentDir() string {
	if c.Content != "" {
		return c.Content
	}
	return filepath.Join(c.DataDir, "content")
}
