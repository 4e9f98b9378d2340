package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
)

// TestWhatCentralSaysIsOnlyText: each row of the status is one line, and holds nothing that a terminal obeys.
func TestWhatCentralSaysIsOnlyText(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;title\x07\nversion  99\u202e"
	var out strings.Builder
	cmd := new(cobra.Command)
	cmd.SetOut(&out)
	table(cmd, admin.Status{
		Enrolled: true, CentralURL: "https://central", SiteName: "oslo" + evil,
		Trouble:   &admin.Trouble{Error: "first\nsecond" + evil, Since: time.Now()},
		Heartbeat: wire.Heartbeat{Config: &wire.ConfigReport{Offered: "g" + evil, State: wire.ConfigFailed, Reason: evil}},
	})
	if strings.ContainsAny(out.String(), "\x1b\x07\u202e") || strings.Contains(out.String(), "\nversion  99") {
		t.Errorf("printed is %q", &out)
	}
	if !strings.Contains(out.String(), "first; second") {
		t.Errorf("the error is not shown: %q", &out)
	}
}
