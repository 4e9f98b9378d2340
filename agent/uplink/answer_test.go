package uplink

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pureboot/pureboot/central/wire"
)

func list(entry string, n int) string { return "[" + strings.Repeat(entry+",", n-1) + entry + "]" }

// TestAnAnswerThatCannotBe: a heartbeat with it has failed, with an error that names what is wrong.
func TestAnAnswerThatCannotBe(t *testing.T) {
	for name, tt := range map[string]struct{ answer, says string }{
		"nothing":                 {``, "EOF"},
		"no JSON":                 {`<html>`, "invalid character"},
		"cut off":                 {`{"next_in":60,"comm`, "unexpected EOF"},
		"no object":               {`[1]`, "cannot unmarshal array"},
		"without end":             {strings.Repeat(" ", maxHeartbeatAnswer+1), "longer than 4194304 bytes"},
		"a list without end":      {`{"changed_nodes":` + list(`"a"`, 1_500_000) + `}`, "longer than 4194304 bytes"},
		"deep":                    {`{"commands":` + strings.Repeat("[", 100_000), "exceeded max depth"},
		"a number for a list":     {`{"commands":7}`, "cannot unmarshal number"},
		"a text for a number":     {`{"next_in":"soon"}`, "cannot unmarshal string"},
		"a number beyond numbers": {`{"next_in":1e99}`, "cannot unmarshal number"},
		"a day that is none":      {`{"server_time":"2026-02-30T00:00:00Z"}`, "parsing time"},
		"a negative epoch":        {`{"content_epoch":{"stream":"s1","n":-1}}`, "content_epoch"},
		"an epoch of no stream":   {`{"node_epoch":{"n":7}}`, "node_epoch"},
		"a stream of two":         {`{"node_epoch":{"stream":"a:b","n":7}}`, "node_epoch"},
		"a stream of a megabyte":  {`{"command_epoch":{"stream":"` + strings.Repeat("s", 1<<20) + `","n":7}}`, "command_epoch"},
		"many nodes":              {`{"changed_nodes":` + list(`"a"`, maxAnswerList+1) + `}`, "changed_nodes: 10001 entries"},
		"many commands":           {`{"commands":` + list(`{}`, maxAnswerList+1) + `}`, "commands: 10001 entries"},
		"many recalls":            {`{"recalled":` + list(`{}`, maxAnswerList+1) + `}`, "recalled: 10001 entries"},
		"a long generation":       {`{"config":{"generation":"` + strings.Repeat("g", 500) + `"}}`, "config.generation: 500 bytes"},
		"a long rotation":         {`{"rotate_credential":{"id":"` + strings.Repeat("r", 500) + `"}}`, "rotate_credential.id: 500 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			c, link := client(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, tt.answer)
			})
			for range failuresToOffline {
				a, err := c.Heartbeat(t.Context(), wire.Heartbeat{})
				if err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 1000 {
					t.Fatalf("the error is %.2000v, want %s", err, tt.says)
				}
				if a.NextIn != 0 || a.Commands != nil || a.ChangedNodes != nil {
					t.Errorf("something was taken: %+v", a)
				}
			}
			if link.Online() {
				t.Error("such a central is in reach")
			}
		})
	}
}

// FuzzHeartbeatAnswer: whatever is believed can be sent back.
func FuzzHeartbeatAnswer(f *testing.F) {
	f.Add([]byte(`{"server_time":"2026-01-02T03:04:05Z","next_in":60,"content_epoch":{"stream":"s","n":1},"changed_nodes":["a"]}`))
	f.Add([]byte(`{"node_epoch":{"stream":"a:b","n":-1},"commands":[{"seq":-1,"params":{}}],"recalled":[null],"acked":[{}]}`))
	f.Add([]byte(`{"config":{"generation":"g","cache_patterns":[""]},"rotate_credential":{"id":"r"},"next_in":-5,"all_nodes":true}`))
	f.Add([]byte(`{"server_time":"0000-01-01T00:00:00Z","command_epoch":{"stream":"\u0000","n":9223372036854775807}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var a heartbeatAnswer
		if json.Unmarshal(text, &a) != nil {
			if a.NextIn != 0 || a.Config != nil || a.Commands != nil {
				t.Errorf("refused, and taken in part: %+v", a)
			}
			return
		}
		for _, e := range []wire.Epoch{a.ContentEpoch, a.NodeEpoch, a.CommandEpoch} {
			if back, err := wire.ParseEpoch(e.String()); e != (wire.Epoch{}) && (err != nil || back != e) {
				t.Errorf("%q comes back as %q, %v", e, back, err)
			}
		}
		if pause := interval(a.NextIn); pause < minInterval || pause > maxInterval {
			t.Errorf("a pause of %v", pause)
		}
		if pause := spread(interval(a.NextIn), a.Jitter); pause < minInterval/2 || pause > 2*maxInterval {
			t.Errorf("a pause of %v", pause)
		}
	})
}
