package uplink

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of the answer to a heartbeat. Central stays far below them. What is within is kept, some of it on the disk, and
// goes back with the next heartbeats, which must not become longer by it than central takes.
const (
	maxHeartbeatAnswer = 4 << 20 // bytes
	maxAnswerList      = 10_000  // entries of each list
	maxAnswerName      = 128     // bytes of what names a generation, a rotation or a stream
)

// heartbeatAnswer is an answer that is believed as a whole or not at all.
type heartbeatAnswer struct{ wire.HeartbeatAnswer }

func (*heartbeatAnswer) most() int64 { return maxHeartbeatAnswer }

// UnmarshalJSON implements json.Unmarshaler.
func (a *heartbeatAnswer) UnmarshalJSON(text []byte) error {
	var said wire.HeartbeatAnswer
	if err := json.Unmarshal(text, &said); err != nil {
		return err
	}
	if err := possible(said); err != nil {
		return fmt.Errorf("an answer that is not to be believed: %w", err)
	}
	a.HeartbeatAnswer = said
	return nil
}

// possible says everything that no central can mean.
func possible(a wire.HeartbeatAnswer) error {
	var errs []error
	for name, e := range map[string]wire.Epoch{"content_epoch": a.ContentEpoch, "node_epoch": a.NodeEpoch, "command_epoch": a.CommandEpoch} {
		if e == (wire.Epoch{}) {
			continue // of a central that tells of none
		}
		if back, err := wire.ParseEpoch(e.String()); err != nil || back != e {
			errs = append(errs, fmt.Errorf("%s: %.80q is none", name, e))
		}
	}
	for name, n := range map[string]int{
		"capabilities": len(a.Capabilities), "changed_nodes": len(a.ChangedNodes), "commands": len(a.Commands),
		"recalled": len(a.Recalled), "acked": len(a.Acked),
	} {
		if n > maxAnswerList {
			errs = append(errs, fmt.Errorf("%s: %d entries", name, n))
		}
	}
	if a.Config != nil && len(a.Config.Generation) > maxAnswerName {
		errs = append(errs, fmt.Errorf("config.generation: %d bytes", len(a.Config.Generation)))
	}
	if a.Rotation != nil && len(a.Rotation.ID) > maxAnswerName {
		errs = append(errs, fmt.Errorf("rotate_credential.id: %d bytes", len(a.Rotation.ID)))
	}
	return errors.Join(errs...)
}
