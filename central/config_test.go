package central

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "central.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEnvironmentOverridesFileOverridesDefaults(t *testing.T) {
	file := configFile(t, `
listen: 127.0.0.1:1
public_url: https://file
tls: {names: [a, b]}
`)
	got, err := Load(file, []string{
		"PUREBOOT_CENTRAL_PUBLIC_URL=https://env", "PUREBOOT_CENTRAL_TLS_CERT=/c", "PUREBOOT_CENTRAL_TLS_NAMES=c,d", "LISTEN=other",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.PublicURL, want.TLS = "127.0.0.1:1", "https://env", TLS{Cert: "/c", Names: []string{"c", "d"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAFaultInTheFileNamesItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"data_dir: /x\nlistn: :1\n":              `:2: unknown field "listn"`,
		"tls:\n  cert: a\n  certs: b\n":          `:3: unknown field "certs"`,
		"data_dir: /x\ntls: [a]\n":               ":2: ",
		"listen: a\nlisten: b\n":                 ":2: ",
		"data_dir: \"x\n":                        ":1: ",
		"database: postgres://u:hunter2@h\nx: 1": `:2: unknown field "x"`,
	} {
		_, err := Load(configFile(t, text), nil)
		if err == nil || !strings.Contains(err.Error(), "central.yaml"+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the file: %v", err)
		}
	}
}

func TestAFileThatIsNamedMustBeThere(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil {
		t.Error("a missing file was no error")
	}
	for _, text := range []string{"", "# listen: \":1\"\n", "---\n", "tls:\n"} {
		if c, err := Load(configFile(t, text), nil); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q gives %+v, %v", text, c, err)
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	err := Config{
		Listen: "8443", PublicURL: "http://central/path?x", Database: "mysql://x", Content: "s3://b",
		TLS: TLS{Cert: "c", Names: []string{"ok.example", "10.0.0.1", "::1", "*.x", "a b", "-a", "a..b", ""}},
	}.Validate()
	if err == nil {
		t.Fatal("no fault was found")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{
		"data_dir: ", "listen: ", "public_url: ", "tls: ", `tls.names: "a b"`, `tls.names: "-a"`, `tls.names: "a..b"`,
		`tls.names: ""`, "database: ", "content: ",
	}
	if len(lines) != len(want) {
		t.Fatalf("%d faults, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("%q, want %s…", line, want[i])
		}
	}
	for _, c := range []Config{
		Default(),
		{DataDir: "var", Listen: "[::1]:0", PublicURL: "https://central:8443/", Database: "postgres://u:p@h/d", Content: "files"},
		{DataDir: "var", Listen: "127.0.0.1:8443", Database: "/srv/pureboot.db", TLS: TLS{Cert: "c", Key: "k"}},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, listen := range []string{"", ":", ":x", ":70000", "1:2:3"} {
		c := Default()
		c.Listen = listen
		if c.Validate() == nil {
			t.Errorf("listen %q is accepted", listen)
		}
	}
	for _, url := range []string{"central", "//central", "https://", "https://u@central", "https://central#x", "https://:8443", "%"} {
		c := Default()
		c.PublicURL = url
		if c.Validate() == nil {
			t.Errorf("public_url %q is accepted", url)
		}
	}
}
