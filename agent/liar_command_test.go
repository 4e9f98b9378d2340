package agent

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/wire"
)

// TestCommandsThatMakeNoSense are rejected or passed over, and reported; those beside them are carried out.
func TestCommandsThatMakeNoSense(t *testing.T) {
	c := startCentral(t)
	c.put("bootloaders/loader", 100_000)
	c.nodes[mac] = wire.Boot{Node: wire.Node{ID: "n1", MACAddress: mac, State: "active"}}
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	command := func(seq, id, name, params string) string {
		return `{"seq":` + seq + `,"id":"` + id + `","command":"` + name + `","params":` + params + `,"expires_at":"` + soon + `"}`
	}
	text := `{"next_in":1,"server_time":"` + time.Now().UTC().Format(time.RFC3339) + `","command_epoch":{"stream":"c1","n":20},"commands":[` + strings.Join([]string{
		command("1", "unknown", "format_disks", `{"all":true}`),
		command("2", "empty", "", `{}`),
		command("-3", "negative", "invalidate", `{"scope":"all"}`),
		command("4", "", "invalidate", `{"scope":"all"}`),
		command("5", strings.Repeat("long", 1000), "invalidate", `{"scope":"all"}`),
		command("6", "outside", "invalidate", `{"scope":"content","glob":"{a"}`),
		command("7", "noscope", "invalidate", `{"scope":"../.."}`),
		command("8", "nocategory", "sync", `{"categories":["../../etc"]}`),
		command("9", "settings", "update_config", `{"generation":"evil"}`),
		command("10", "good", "invalidate", `{"scope":"nodes"}`),
		command("10", "good", "format_disks", `{}`),
		command("9223372036854775807", "last", "invalidate", `{"scope":"nodes"}`),
	}, ",") + `],"recalled":[{"seq":1,"id":"good","state":"succeeded"},{"seq":-1,"id":"x","state":"canceled"}],"acked":[{"id":"nobody","state":"failed"}]}`
	c.says = func(w http.ResponseWriter, r *http.Request) { says(text)(w, r) }
	a := start(t, config(t, c))
	want := map[string]string{
		"unknown": "rejected", "empty": "rejected", "outside": "rejected", "noscope": "rejected", "nocategory": "rejected",
		"settings": "failed", "good": "succeeded", "last": "succeeded",
	}
	var said map[string]wire.CommandResult
	eventually(t, "the results", func() bool {
		a.heart.Soon()
		c.mu.Lock()
		defer c.mu.Unlock()
		said = map[string]wire.CommandResult{}
		if n := len(c.heartbeats); n > 0 {
			for _, r := range c.heartbeats[n-1].Results {
				said[r.ID] = r
			}
		}
		return len(said) == len(want) && said["last"].State == want["last"]
	})
	for id, state := range want {
		if said[id].State != state || len(said[id].Result) > 4096 {
			t.Errorf("%s is reported as %+v, want %s", id, said[id], state)
		}
	}
	if r := said["unknown"].Result; !strings.Contains(r, `no command "format_disks"`) {
		t.Errorf("the unknown one: %s", r)
	}
	if s := a.told(t); s.Trouble == nil || !strings.Contains(s.Trouble.Error, "number -3") || !strings.Contains(s.Trouble.Error, "succeeded") {
		t.Errorf("the status tells of %+v", s.Trouble)
	}
	a.serves(t, c.files["bootloaders/loader"])
}
