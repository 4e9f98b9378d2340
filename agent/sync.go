package agent

import (
	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// openSync makes what syncs, if there is a central to sync with.
func (a *Agent) openSync() error {
	if a.client == nil {
		return nil
	}
	var err error
	a.syncer, err = uplink.NewSyncer(uplink.SyncOptions{
		Files: a.files, Online: a.client.Online, Dir: a.cfg.StateDir(), Log: a.log.With("room", "uplink"),
	}, a.cfg.syncSettings())
	return err
}

// operatorSync is the syncer as the operator sees it.
type operatorSync struct{ *Agent }

// Start implements admin.Syncer.
func (o operatorSync) Start(force bool, categories []string) {
	o.syncer.Start(uplink.SyncRequest{Trigger: wire.TriggerManual, Force: force, Categories: categories})
}

// State implements admin.Syncer.
func (o operatorSync) State() admin.Sync {
	s := o.syncer.State()
	state := admin.Sync{
		Running: s.Busy, Progress: s.Running, Last: s.Last, Policy: s.Settings.Policy, Patterns: s.Settings.Patterns,
		Schedule: s.Settings.Schedule, PendingItems: o.files.Missing(),
	}
	if state.Patterns == nil {
		state.Patterns = []string{}
	}
	if !s.Next.IsZero() {
		state.NextAt = &s.Next
	}
	if err := o.files.Distrusted(); err != nil {
		state.ManifestError = err.Error()
	}
	return state
}

// reportSync adds how syncs do to a heartbeat.
func (a *Agent) reportSync(h *wire.Heartbeat) {
	if a.syncer == nil {
		return
	}
	if last := a.syncer.Last(); last != nil {
		h.LastSyncAt, h.LastSyncResult = &last.FinishedAt, last.Status
	}
	h.PendingSyncItems, h.Sync = a.files.Missing(), a.syncer.Running()
	if err := a.files.Distrusted(); err != nil {
		h.Services["manifest"] = err.Error()
	}
}
