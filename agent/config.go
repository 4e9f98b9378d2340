package agent

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

	"github.com/caarlos0/env/v11"
	"github.com/goccy/go-yaml"
)

// DefaultConfigFile is read when no other file is named; it may be missing.
const DefaultConfigFile = "/etc/pureboot/agent.yaml"

// Config is agent.yaml. Each key may also be set in the environment: listen.http as PUREBOOT_AGENT_LISTEN_HTTP.
type Config struct {
	DataDir    string `yaml:"data_dir" env:"DATA_DIR"`
	CentralURL string `yaml:"central_url" env:"CENTRAL_URL"` // for init, where no --central-url is given
	Listen     Listen `yaml:"listen" envPrefix:"LISTEN_"`
	Cache      Cache  `yaml:"cache" envPrefix:"CACHE_"`
}

// Listen says where the agent is reached. An empty address turns a listener off, port 0 takes a free one.
type Listen struct {
	HTTP  string `yaml:"http" env:"HTTP"`
	TFTP  string `yaml:"tftp" env:"TFTP"`
	Admin string `yaml:"admin" env:"ADMIN"` // path of a unix socket
}

// Cache bounds what is kept of central's files. GB are 10^9 bytes, MB 10^6.
type Cache struct {
	MaxSizeGB int `yaml:"max_size_gb" env:"MAX_SIZE_GB"` // on disk
	MinFreeGB int `yaml:"min_free_gb" env:"MIN_FREE_GB"` // left free on the disk
	HotMB     int `yaml:"hot_mb" env:"HOT_MB"`           // of memory, for small files
}

// Default returns the configuration of an agent that nobody configured.
func Default() Config {
	return Config{
		DataDir: "/var/lib/pureboot-agent",
		Listen:  Listen{HTTP: ":8080", TFTP: ":69", Admin: "/run/pureboot-agent/admin.sock"},
		Cache:   Cache{MaxSizeGB: 50, MinFreeGB: 2, HotMB: 256},
	}
}

// envPrefix begins the name of each key in the environment.
const envPrefix = "PUREBOOT_AGENT_"

// Load returns the defaults, overridden by the file and then by the environment. An empty file name means
// DefaultConfigFile, if there is one. An unknown key is an error that names its line.
func Load(file string) (Config, error) {
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
		if c, err = c.with(text); err != nil {
			return c, fmt.Errorf("%s: %s", file, yaml.FormatError(err, false, true))
		}
	}
	if err := env.ParseWithOptions(&c, env.Options{Prefix: envPrefix}); err != nil {
		return c, fmt.Errorf("read the environment: %w", err)
	}
	// The library passes over what is set to nothing, which is how a listener is turned off.
	for name, field := range map[string]*string{
		"LISTEN_HTTP": &c.Listen.HTTP, "LISTEN_TFTP": &c.Listen.TFTP, "LISTEN_ADMIN": &c.Listen.Admin,
	} {
		if value, ok := os.LookupEnv(envPrefix + name); ok {
			*field = value
		}
	}
	return c, nil
}

// with returns the configuration with the keys of a file in it.
func (c Config) with(text []byte) (Config, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	set := c
	switch err := decoder.Decode(&set); {
	case errors.Is(err, io.EOF):
		return c, nil // nothing but comments, as packaged: the decoder has then cleared set
	case err != nil:
		return c, err
	}
	if err := decoder.Decode(new(Config)); !errors.Is(err, io.EOF) {
		return c, errors.New("more than one document")
	}
	return set, nil
}

// Validate returns every fault at once, each naming its key.
func (c Config) Validate() error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	address := func(key, network, addr string) {
		if addr == "" {
			return
		}
		if _, port, err := net.SplitHostPort(addr); err != nil {
			fault(key, "%q is not [HOST]:PORT", addr)
		} else if _, err := net.LookupPort(network, port); err != nil {
			fault(key, "%q is not a port", port)
		}
	}
	atLeast := func(key string, least, value int) {
		if value < least {
			fault(key, "%d is less than %d", value, least)
		}
	}

	if c.DataDir == "" {
		fault("data_dir", "missing")
	}
	if c.CentralURL != "" {
		if u, err := url.Parse(c.CentralURL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			fault("central_url", "want https://HOST[:PORT]") // it is not repeated: somebody may have put a password in it
		}
	}
	address("listen.http", "tcp", c.Listen.HTTP)
	address("listen.tftp", "udp", c.Listen.TFTP)
	if c.Listen.HTTP == "" && c.Listen.TFTP == "" {
		fault("listen", "both http and tftp are off, so no machine could boot")
	}
	if len(c.Listen.Admin) > maxSocketPath {
		fault("listen.admin", "the path of a unix socket has at most %d bytes", maxSocketPath)
	}
	atLeast("cache.max_size_gb", 1, c.Cache.MaxSizeGB)
	atLeast("cache.min_free_gb", 0, c.Cache.MinFreeGB)
	atLeast("cache.hot_mb", 0, c.Cache.HotMB)
	return errors.Join(faults...)
}

// maxSocketPath is what a sockaddr_un holds on Linux, in bytes, but for the NUL at its end.
const maxSocketPath = 107

// StateDir holds what the agent must not lose: who it is, and its machines.
func (c Config) StateDir() string { return filepath.Join(c.DataDir, "state") }

// CacheDir holds what central can give again.
func (c Config) CacheDir() string { return filepath.Join(c.DataDir, "cache") }
