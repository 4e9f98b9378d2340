package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/agentcommand"
)

// an agent as central hears it.
type heard struct {
	c          *central
	credential string
	site       string // path of its commands
}

// beat sends a heartbeat with results, and returns the answer.
func (h heard) beat(results ...wire.CommandResult) wire.HeartbeatAnswer {
	h.c.t.Helper()
	return must[wire.HeartbeatAnswer](h.c, 200, "POST", wire.PathHeartbeat, h.credential, wire.Heartbeat{
		Hello: wire.Hello{Capabilities: []string{wire.CapabilityCommands}}, Results: results,
	})
}

func (h heard) queue(command string, params, more object) store.Command {
	h.c.t.Helper()
	body := object{"command": command, "params": params}
	maps.Copy(body, more)
	return must[store.Command](h.c, 201, "POST", h.site, h.c.operator, body)
}

func (h heard) want(seq int64, state, result string) store.Command {
	h.c.t.Helper()
	got := must[store.Command](h.c, 200, "GET", fmt.Sprint(h.site, "/", seq), h.c.viewer, nil)
	if string(got.State) != state || got.Result != result {
		h.c.t.Errorf("command %d is %s, %q, want %s, %q", seq, got.State, got.Result, state, result)
	}
	return got
}

func said(c store.Command, state, text string) wire.CommandResult {
	return wire.CommandResult{ID: c.ID, State: state, Result: text}
}

func numbers(commands []wire.AgentCommand) (n []int64) {
	for _, c := range commands {
		n = append(n, c.Seq)
	}
	return n
}

func recalled(recalls []wire.CommandRecall) (all []string) {
	for _, r := range recalls {
		all = append(all, fmt.Sprintf("%d %s %s", r.Seq, r.State, r.Result))
	}
	return all
}

func TestCommandsReachTheAgentAndItsWordComesBack(t *testing.T) {
	onBoth(t, testCommandsReachTheAgentAndItsWordComesBack)
}

func testCommandsReachTheAgentAndItsWordComesBack(t *testing.T, c *central) {
	site, other := c.site("berlin"), c.site("paris")
	h := heard{c: c, credential: c.enrol(site), site: "/api/v1/sites/" + site.ID.String() + "/commands"}
	stranger := heard{c: c, credential: c.enrol(other)}

	if a := h.beat(); a.CommandEpoch.Stream != "" || a.Commands != nil {
		t.Errorf("before the first: %+v", a)
	}
	sync := h.queue("sync", nil, nil)
	all := h.queue("invalidate", object{"scope": "all"}, object{"once": true})
	if a := must[wire.HeartbeatAnswer](c, 200, "POST", wire.PathHeartbeat, h.credential, wire.Heartbeat{}); a.Commands != nil {
		t.Errorf("an agent that does not carry out commands gets %v", a.Commands)
	}
	h.want(1, "queued", "")
	if a := stranger.beat(said(sync, "succeeded", "")); a.Commands != nil || len(a.Acked) != 1 {
		t.Errorf("another site: %+v", a)
	}
	h.want(1, "queued", "")

	first := h.beat()
	if got := numbers(first.Commands); !slices.Equal(got, []int64{1, 2}) || first.CommandEpoch.N != 2 || first.CommandEpoch.Stream == "" ||
		!first.Commands[1].Once || first.Commands[0].ID != sync.ID || !first.Commands[0].ExpiresAt.Equal(sync.ExpiresAt) {
		t.Errorf("sent: %+v", first)
	}
	// The answer was lost. What may be sent once is not sent again, but asked back.
	second := h.beat()
	if got, back := numbers(second.Commands), recalled(second.Recalled); !slices.Equal(got, []int64{1}) || len(back) != 1 || !strings.HasPrefix(back[0], "2 failed it got lost") {
		t.Errorf("sent again: %v, %v", got, back)
	}
	third := h.beat(said(sync, "accepted", ""), said(all, "failed", second.Recalled[0].Result))
	if len(third.Acked) != 2 || third.Acked[0] != (wire.CommandAck{ID: sync.ID, State: "accepted"}) || third.Commands != nil || third.Recalled != nil {
		t.Errorf("acknowledged: %+v", third)
	}
	h.want(1, "accepted", "")
	h.want(2, "failed", second.Recalled[0].Result)

	// Its progress is seen, a report that is late changes nothing, and the end stays.
	h.beat(said(sync, "running", "3 of 7 files\n"))
	if got := h.want(1, "running", "3 of 7 files"); got.StartedAt == nil {
		t.Errorf("begun: %+v", got)
	}
	h.beat(said(sync, "running", "4 of 7 files"))
	h.beat(said(sync, "accepted", "late"))
	h.want(1, "running", "4 of 7 files")
	h.beat(said(sync, "succeeded", strings.Repeat("é", 5000)))
	done := must[store.Command](c, 200, "GET", h.site+"/1", c.viewer, nil)
	if done.State != "succeeded" || len(done.Result) != 4096 || done.FinishedAt == nil {
		t.Errorf("at the end: %s, %d bytes", done.State, len(done.Result))
	}
	for _, late := range []string{"running", "failed", "canceled"} {
		h.beat(said(sync, late, "late"))
	}
	h.want(1, "succeeded", done.Result)

	// What the agent says of nothing that there is, or what is no state, is acknowledged, and that is all.
	next := h.queue("sync", nil, nil)
	h.beat()
	if a := h.beat(wire.CommandResult{ID: "no-such", State: "succeeded"}, said(next, "sent", "x"), said(next, "lost", "x")); len(a.Acked) != 3 {
		t.Errorf("acknowledged: %+v", a.Acked)
	}
	h.want(3, "sent", "")
}

func TestACommandIsAskedBack(t *testing.T) { onBoth(t, testACommandIsAskedBack) }

func testACommandIsAskedBack(t *testing.T, c *central) {
	site := c.site("berlin")
	h := heard{c: c, credential: c.enrol(site), site: "/api/v1/sites/" + site.ID.String() + "/commands"}
	canceled := h.queue("invalidate", object{"scope": "content"}, nil)
	begun := h.queue("invalidate", object{"scope": "nodes"}, nil)
	late := h.queue("update_config", nil, nil)
	lost := h.queue("sync", object{"categories": []string{"images"}}, nil)
	h.beat()
	h.beat(said(canceled, "accepted", ""), said(begun, "accepted", ""), said(late, "accepted", ""), said(lost, "running", ""))
	for seq := 1; seq <= 2; seq++ {
		if got := must[store.Command](c, 200, "POST", fmt.Sprint(h.site, "/", seq, "/cancel"), c.operator, nil); got.State != "accepted" || got.Recall != "canceled" {
			t.Errorf("asked back: %+v", got)
		}
	}
	err := c.store.Write(t.Context(), func(tx *ent.Tx) error {
		row := tx.AgentCommand.Query().Where(agentcommand.SiteID(site.ID), agentcommand.Seq(3)).OnlyX(t.Context())
		if err := tx.AgentCommand.DeleteOne(row).Exec(t.Context()); err != nil {
			return err
		}
		return tx.AgentCommand.Create().SetID(row.ID).SetSiteID(site.ID).SetSeq(3).SetCommand(row.Command).SetParams(row.Params).
			SetTTLSeconds(1).SetCreatedBy("x").SetState(row.State).SetExpiresAt(time.Now().Add(-time.Hour)).Exec(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	h.want(3, "accepted", "") // the agent may have begun it in time
	// The agent knows of two, and has lost its journal of the others.
	a := h.beat(said(canceled, "accepted", ""), said(begun, "running", ""))
	want := []string{"1 canceled ", "3 expired ", "4 failed the agent that began it has lost its journal"}
	if got := recalled(a.Recalled); !slices.Equal(got, want) || a.Commands != nil {
		t.Errorf("asked back: %q, %v", got, a.Commands)
	}
	h.beat(said(canceled, "canceled", ""), said(begun, "succeeded", "too late"), said(late, "expired", ""), said(lost, "failed", a.Recalled[2].Result))
	h.want(1, "canceled", "")
	h.want(2, "succeeded", "too late")
	h.want(3, "expired", "")
	h.want(4, "failed", "the agent that began it has lost its journal")
	if got := must[store.Command](c, 200, "GET", h.site+"/2", c.viewer, nil); got.Recall != "" {
		t.Errorf("it is over, and recalled: %+v", got)
	}
}

// A newer agent may say more of a command, and one that says nonsense is told so.
func TestTheWordOfAnAgentOfAnotherVersion(t *testing.T) {
	c := newCentral(t)
	site := c.site("berlin")
	h := heard{c: c, credential: c.enrol(site), site: "/api/v1/sites/" + site.ID.String() + "/commands"}
	sync := h.queue("sync", nil, nil)
	h.beat()
	beat := func(status int, result string) {
		t.Helper()
		body := `{"capabilities":["commands"],"command_epoch":{"stream":"x","n":1,"more":2},"results":[` + result + `]}`
		if r := c.do("POST", wire.PathHeartbeat, h.credential, body); r.status != status {
			t.Errorf("%s: %d %s", result, r.status, r.body)
		}
	}
	beat(200, `{"id":"`+sync.ID+`","state":"running","result":"half","percent":50}`)
	h.want(1, "running", "half")
	beat(200, `{"id":"`+sync.ID+`"}`)
	beat(200, `{}`)
	beat(422, `{"id":7}`)
	beat(422, `"x"`)
	h.want(1, "running", "half")
}
