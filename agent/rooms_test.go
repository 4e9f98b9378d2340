package agent_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/pureboot/pureboot/"

// rooms says what of this module each room may import. What is not listed may import nothing of it. central's API shows
// an administrator what a machine will boot, by the renderer that the agent uses: agent/boot does no I/O and knows only
// what both sides know.
var rooms = map[string][]string{
	"agent/cmd/pureboot-agent":     {"cli", "agent", "agent/admin", "agent/cache", "agent/uplink", "central/wire"},
	"agent":                        {"agent/", "central/wire", "central/lifecycle", "systemd", "tftp"},
	"agent/gateway":                {"agent/content", "agent/httpcache", "agent/node", "agent/boot", "agent/cache", "central/wire", "central/lifecycle"},
	"agent/admin":                  {"durable", "agent/content", "agent/httpcache", "agent/node", "agent/cache", "central/wire", "central/lifecycle"},
	"agent/uplink":                 {"durable", "agent/content", "agent/node", "central/wire", "central/lifecycle"},
	"agent/content":                {"durable", "agent/cache", "central/wire"},
	"agent/httpcache":              {"agent/cache"},
	"agent/node":                   {"durable", "central/wire", "central/lifecycle"},
	"agent/boot":                   {"central/wire", "central/lifecycle"},
	"agent/cache":                  {},
	"agent/e2e":                    {},
	"central/cmd/pureboot-central": {"cli", "durable", "central", "central/"},
	"central":                      {"durable", "central/", "systemd"},
	"central/api":                  {"ent", "agent/boot", "central/fleet", "central/store", "central/content", "central/inherit", "central/lifecycle", "central/wire"},
	"central/fleet":                {"central/store", "central/content", "central/inherit", "central/lifecycle", "central/wire"},
	"central/content":              {"central/store", "central/wire", "ent"},
	"central/store":                {"durable", "central/inherit", "central/lifecycle", "central/wire", "ent"},
	"central/inherit":              {},
	"central/lifecycle":            {},
	"central/wire":                 {},
	"bench":                        {"agent/", "central/wire"},
	"bench/central":                {"agent/uplink", "central", "central/", "ent"},
	"packaging/quickstart":         {"central/wire"},
	"cli":                          {},
	"durable":                      {},
	"systemd":                      {},
	"tftp":                         {},
}

// TestRoomsImportDownwards holds the direction of the tree, so that a room can be read, tested and replaced without
// those above it. Go itself refuses cycles.
func TestRoomsImportDownwards(t *testing.T) {
	for room, imports := range list(t) {
		if room == "ent" || strings.HasPrefix(room, "ent/") {
			continue // generated
		}
		allowed, known := rooms[room]
		if !known {
			t.Errorf("%s is no room of the tree: give it a place here", room)
			continue
		}
		for _, path := range imports {
			of, ours := strings.CutPrefix(path, module)
			if !ours {
				if (room == "central/wire" || room == "central/lifecycle") && strings.Contains(strings.Split(path, "/")[0], ".") {
					t.Errorf("%s imports %s: both sides need it, so it uses the standard library alone", room, path)
				}
				continue
			}
			if !permitted(of, allowed) {
				t.Errorf("%s imports %s, which is not below it", room, of)
			}
		}
	}
}

func permitted(path string, allowed []string) bool {
	for _, a := range allowed {
		if path == a || strings.HasSuffix(a, "/") && strings.HasPrefix(path, a) || a == "ent" && strings.HasPrefix(path, "ent/") {
			return true
		}
	}
	return false
}

// list returns each package of the module, without its prefix, and what it imports outside its tests.
func list(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		all[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}
