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
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
	"github.com/goccy/go-yaml"

	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/gateway"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// DefaultConfigFile is read when no other file is named; it may be missing.
const DefaultConfigFile = "/etc/pureboot/agent.yaml"

// Config is agent.yaml. Each key may also be set in the environment: listen.http as PUREBOOT_AGENT_LISTEN_HTTP.
type Config struct {
	DataDir    string `yaml:"data_dir" env:"DATA_DIR"`
	CentralURL string `yaml:"central_url" env:"CENTRAL_URL"` // for init, where no --central-url is given
	Listen     Listen `yaml:"listen" envPrefix:"LISTEN_"`

	// CentralAuth is what the agent proves itself to central with: credential, the default, or certificate, which central
	// makes; while there is none, and to change the credential, it is the credential all the same.
	CentralAuth string `yaml:"central_auth" env:"CENTRAL_AUTH"`

	Cache Cache `yaml:"cache" envPrefix:"CACHE_"`
	Sync  Sync  `yaml:"sync" envPrefix:"SYNC_"`

	Upstreams []Upstream `yaml:"upstreams"` // in the file alone

	// Pinned names, as sites call them, the settings that the file or the environment has: central does not change them.
	Pinned []string `yaml:"-"`

	// What central alone sets.
	HeartbeatSeconds int    `yaml:"-"`
	Autonomy         string `yaml:"-"` // readonly, limited or full
}

// Listen says where the agent is reached. An empty address turns a listener off, port 0 takes a free one.
type Listen struct {
	HTTP  string `yaml:"http" env:"HTTP"`
	HTTPS string `yaml:"https" env:"HTTPS"` // with a certificate that central makes; also the operator's API, by token
	TFTP  string `yaml:"tftp" env:"TFTP"`
	Admin string `yaml:"admin" env:"ADMIN"` // path of a unix socket

	// HTTPSNames are the names and addresses that central is asked for; empty: the host's. Of names it gives but the one in
	// the site's agent_url.
	HTTPSNames []string `yaml:"https_names" env:"HTTPS_NAMES"`

	// Metrics is for Prometheus, by plain HTTP and for everybody who reaches it. An address that is taken is only logged.
	Metrics string `yaml:"metrics" env:"METRICS"`
}

// Cache bounds what is kept of central's files. GB are 10^9 bytes, MB 10^6.
type Cache struct {
	MaxSizeGB int `yaml:"max_size_gb" env:"MAX_SIZE_GB"` // on disk
	MinFreeGB int `yaml:"min_free_gb" env:"MIN_FREE_GB"` // left free on the disk
	HotMB     int `yaml:"hot_mb" env:"HOT_MB"`           // of memory, for small files

	Policy   string   `yaml:"policy" env:"POLICY"`     // of what a sync brings: minimal, assigned, pattern or mirror
	Patterns []string `yaml:"patterns" env:"PATTERNS"` // of the policy pattern: globs of CATEGORY/PATH

	// RetentionDays is for how long a file is kept that nobody asks for; bootloaders, what is pinned and what the policy
	// wants stay. 0: scripts a day, templates a week, all else 30 days.
	RetentionDays int `yaml:"retention_days" env:"RETENTION_DAYS"`
}

// Sync says when the site is brought up to date, and bounds what is fetched over the WAN, by whatever way: what a machine
// waits for goes first, small before large.
type Sync struct {
	Schedule  string `yaml:"schedule" env:"SCHEDULE"`         // five fields of cron, in local time; empty means never
	MaxMBPerS int    `yaml:"max_mb_per_s" env:"MAX_MB_PER_S"` // 10^6 bytes per second; 0 means no bound
}

// Upstream has an origin on the web served below a prefix, through the cache.
type Upstream struct {
	Prefix          string `yaml:"prefix"`           // of paths; begins and ends with a slash
	URL             string `yaml:"url"`              // what takes the prefix's place
	FollowRedirects bool   `yaml:"follow_redirects"` // else they are passed on
}

// Default returns the configuration of an agent that nobody configured.
func Default() Config {
	return Config{
		DataDir: "/var/lib/pureboot-agent",
		Listen:  Listen{HTTP: ":8080", TFTP: ":69", Admin: "/run/pureboot-agent/admin.sock", Metrics: "127.0.0.1:9464"},
		Cache:   Cache{MaxSizeGB: 50, MinFreeGB: 2, HotMB: 256, Policy: wire.PolicyMinimal},
		Sync:    Sync{Schedule: "0 2 * * *"},

		HeartbeatSeconds: 60, Autonomy: "readonly",
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
	// The library passes over what is set to nothing, which is how a listener or the schedule is turned off.
	for name, field := range map[string]*string{
		"LISTEN_HTTP": &c.Listen.HTTP, "LISTEN_TFTP": &c.Listen.TFTP, "LISTEN_ADMIN": &c.Listen.Admin,
		"LISTEN_METRICS": &c.Listen.Metrics, "LISTEN_HTTPS": &c.Listen.HTTPS, "SYNC_SCHEDULE": &c.Sync.Schedule,
	} {
		if value, ok := os.LookupEnv(envPrefix + name); ok {
			*field = value
		}
	}
	c.Pinned, err = pinned(text)
	return c, err
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

// mostOf bounds every number: of gigabytes, days or whatever it is, a million is a mistake already.
const mostOf = 1_000_000

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
		} else if value > mostOf {
			fault(key, "%d is more than %d", value, mostOf)
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
	if c.CentralAuth != "" && c.CentralAuth != byCredential && c.CentralAuth != byCertificate {
		fault("central_auth", "%q is neither credential nor certificate", c.CentralAuth)
	}
	address("listen.http", "tcp", c.Listen.HTTP)
	address("listen.https", "tcp", c.Listen.HTTPS)
	for _, name := range c.Listen.HTTPSNames {
		if !validHost(name) {
			fault("listen.https_names", "%q is neither a host name nor an IP address", name)
		}
	}
	address("listen.tftp", "udp", c.Listen.TFTP)
	address("listen.metrics", "tcp", c.Listen.Metrics)
	if c.Listen.HTTP == "" && c.Listen.TFTP == "" {
		fault("listen", "both http and tftp are off, so no machine could boot")
	}
	if len(c.Listen.Admin) > maxSocketPath {
		fault("listen.admin", "the path of a unix socket has at most %d bytes", maxSocketPath)
	}
	atLeast("cache.max_size_gb", 1, c.Cache.MaxSizeGB)
	atLeast("cache.min_free_gb", 0, c.Cache.MinFreeGB)
	atLeast("cache.hot_mb", 0, c.Cache.HotMB)
	if !slices.Contains(wire.Policies, c.Cache.Policy) {
		fault("cache.policy", "%q is not one of %s", c.Cache.Policy, strings.Join(wire.Policies, ", "))
	}
	if _, err := content.NewPolicy(wire.PolicyPattern, c.Cache.Patterns); err != nil {
		fault("cache.patterns", "%v", err)
	}
	if _, err := uplink.ParseSchedule(c.Sync.Schedule); err != nil {
		fault("sync.schedule", "%v", err)
	}
	atLeast("sync.max_mb_per_s", 0, c.Sync.MaxMBPerS)
	atLeast("cache.retention_days", 0, c.Cache.RetentionDays)
	atLeast("heartbeat_seconds", 1, c.HeartbeatSeconds)
	if levels := []string{"readonly", "limited", "full"}; !slices.Contains(levels, c.Autonomy) {
		fault("autonomy_level", "%q is not one of %s", c.Autonomy, strings.Join(levels, ", "))
	}
	seen := map[string]int{}
	for i, u := range c.Upstreams {
		key := fmt.Sprintf("upstreams[%d]", i)
		if why := badPrefix(u.Prefix); why != "" {
			fault(key+".prefix", "%q %s", u.Prefix, why)
		} else if first, again := seen[u.Prefix]; again {
			fault(key+".prefix", "%q is that of upstreams[%d] too", u.Prefix, first)
		} else {
			seen[u.Prefix] = i
		}
		if _, err := u.origin(); err != nil {
			fault(key+".url", "%v", err)
		}
	}
	return errors.Join(faults...)
}

// badPrefix says what is wrong with the prefix of an upstream, if anything is.
func badPrefix(prefix string) string {
	switch {
	case !strings.HasPrefix(prefix, "/") || !strings.HasSuffix(prefix, "/"):
		return "does not begin and end with a slash"
	case prefix != "/" && !fs.ValidPath(strings.Trim(prefix, "/")) || strings.HasPrefix(prefix, "//"):
		return "has an empty part or a dot segment"
	case strings.ContainsFunc(prefix, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~/", c)
	}):
		return "has more than letters, digits and - . _ ~ in it"
	case prefix != "/" && gateway.Owns(prefix):
		return "is among PureBoot's own routes"
	}
	return ""
}

// origin is the upstream's URL, which ends with a slash. What is wrong with it is said without repeating it: somebody
// may have put a password in it.
func (u Upstream) origin() (*url.URL, error) {
	at, err := url.Parse(u.URL)
	switch {
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "":
		return nil, errors.New("want http://HOST[:PORT]/[PATH/] or https")
	case at.User != nil:
		return nil, errors.New("a user or password in it would not be used")
	case at.RawQuery != "" || at.ForceQuery || at.Fragment != "":
		return nil, errors.New("a query or fragment in it would not be used")
	}
	if !strings.HasSuffix(at.Path, "/") {
		at = at.JoinPath("/")
	}
	return at, nil
}

// maxSocketPath is what a sockaddr_un holds on Linux, in bytes, but for the NUL at its end.
const maxSocketPath = 107

// StateDir holds what the agent must not lose: who it is, and its machines.
func (c Config) StateDir() string { return filepath.Join(c.DataDir, "state") }

// CacheDir holds what central can give again.
func (c Config) CacheDir() string { return filepath.Join(c.DataDir, "cache") }
