package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheFileOverridesTheDefaultsAndTheEnvironmentTheFile(t *testing.T) {
	file := writeConfig(t, "data_dir: /data\nlisten:\n  http: 127.0.0.1:80\n  tftp: \"\"\ncache: {max_size_gb: 7}\n")
	t.Setenv("PUREBOOT_AGENT_LISTEN_HTTP", "127.0.0.1:81")
	t.Setenv("PUREBOOT_AGENT_CENTRAL_URL", "https://central")
	t.Setenv("PUREBOOT_AGENT_CACHE_HOT_MB", "3")
	t.Setenv("PUREBOOT_AGENT_CACHE_PATTERNS", "images/a/**,images/b/**")
	t.Setenv("PUREBOOT_AGENT_SYNC_SCHEDULE", "")
	got, err := Load(file)
	want := Default()
	want.DataDir, want.CentralURL = "/data", "https://central"
	want.Listen.HTTP, want.Listen.TFTP = "127.0.0.1:81", ""
	want.Cache.MaxSizeGB, want.Cache.HotMB = 7, 3
	want.Pinned = []string{"cache_max_size_gb", "cache_patterns", "sync_schedule"}
	want.Cache.Patterns, want.Sync.Schedule = []string{"images/a/**", "images/b/**"}, ""
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %+v, %v; want %+v", got, err, want)
	}
}

func TestAFileOfNothingButCommentsChangesNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# data_dir: /data\n", "---\n# nothing\n", "listen:\n  # http: x\n", "listen: {}\n", "listen:\n", "cache: null\n"} {
		if got, err := Load(writeConfig(t, text)); err != nil || !reflect.DeepEqual(got, Default()) {
			t.Errorf("%q becomes %+v, %v", text, got, err)
		}
	}
}

func TestATypoInTheFileIsNamedWithItsLine(t *testing.T) {
	for _, tt := range []struct{ text, says string }{
		{"data_dir: /x\nlistne:\n  http: x\n", `[2:1] unknown field "listne"`},
		{"listen:\n  htpp: x\n", `[2:3] unknown field "htpp"`},
		{"cache:\n  max_size_gb: many\n", "[2:16]"},
		{"listen: 5\n", "[1:9]"},
		{"data_dir: /x\ndata_dir: /y\n", `[2:1] mapping key "data_dir" already defined`},
		{"listen: [\n", "[1:9]"},
		{"data_dir: /x\n---\ndata_dir: /y\n", "more than one document"},
	} {
		file := writeConfig(t, tt.text)
		_, err := Load(file)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.says)
		}
	}
}

func TestAFileThatIsNamedMustBeThere(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loaded without it: %v", err)
	}
}

func TestTheEnvironmentTurnsAListenerOff(t *testing.T) {
	t.Setenv("PUREBOOT_AGENT_LISTEN_TFTP", "")
	t.Setenv("PUREBOOT_AGENT_LISTEN_ADMIN", "")
	t.Setenv("PUREBOOT_AGENT_LISTEN_METRICS", "")
	got, err := Load(writeConfig(t, "listen: {admin: /x/admin.sock}\n"))
	if err != nil || got.Listen.TFTP != "" || got.Listen.Admin != "" || got.Listen.Metrics != "" || got.Listen.HTTP != Default().Listen.HTTP {
		t.Errorf("loaded %+v, %v", got.Listen, err)
	}
}

func TestANumberInTheEnvironmentThatIsNone(t *testing.T) {
	t.Setenv("PUREBOOT_AGENT_CACHE_HOT_MB", "lots")
	if _, err := Load(writeConfig(t, "")); err == nil || !strings.Contains(err.Error(), "HotMB") {
		t.Errorf("loaded: %v", err)
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	c := Config{
		CentralURL: "http://u:hunter2@central", Listen: Listen{HTTP: "8080", TFTP: ":tftpd", Admin: strings.Repeat("x", 108), Metrics: "9464"},
		Cache: Cache{MaxSizeGB: 0, MinFreeGB: -1, HotMB: -1, Policy: "all", Patterns: []string{"images/["}, RetentionDays: mostOf + 1},
		Sync:  Sync{Schedule: "daily", MaxMBPerS: -1},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("it is taken")
	}
	lines := strings.Split(err.Error(), "\n")
	keys := []string{
		"data_dir", "central_url", "listen.http", "listen.tftp", "listen.metrics", "listen.admin", "cache.max_size_gb", "cache.min_free_gb", "cache.hot_mb",
		"cache.policy", "cache.patterns", "sync.schedule", "sync.max_mb_per_s", "cache.retention_days", "heartbeat_seconds", "autonomy_level",
	}
	if len(lines) != len(keys) {
		t.Fatalf("%d faults, want %d:\n%v", len(lines), len(keys), err)
	}
	for i, key := range keys {
		if !strings.HasPrefix(lines[i], key+": ") {
			t.Errorf("fault %d is %q, want it of %s", i, lines[i], key)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password is shown: %v", err)
	}
	c = Default()
	c.Listen.HTTP, c.Listen.TFTP = "", ""
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "listen: ") {
		t.Errorf("without listeners: %v", err)
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
