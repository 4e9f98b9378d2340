package store

import (
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/node"
)

// nodeRecord describes a row whose interfaces were loaded.
func nodeRecord(row *ent.Node) wire.Node {
	n := wire.Node{
		ID: row.ID.String(), MACAddress: row.MACAddress, Interfaces: interfaces(row), Hostname: row.Hostname,
		IPAddress: row.IPAddress, State: string(row.State), WorkflowID: text(row.WorkflowID), GroupID: text(row.GroupID),
		HomeSiteID: text(row.HomeSiteID), Vendor: row.Vendor, Model: row.Model, SerialNumber: row.SerialNumber,
		Params: texts(row.Params), ExtraCmdline: row.ExtraCmdline, Tags: list(row.Tags), InstallSeq: row.InstallSeq,
		InstallAttempts: row.InstallAttempts, InstallStartedAt: row.InstallStartedAt, LastInstallError: row.LastInstallError,
		StateChangedAt: row.StateChangedAt, LastSeenAt: row.LastSeenAt, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		Version: row.Version, NextBoot: row.NextBoot,
	}
	if row.Arch != nil {
		n.Arch = string(*row.Arch)
	}
	if row.BootMode != nil {
		n.BootMode = string(*row.BootMode)
	}
	if row.SystemUUID != nil {
		n.SystemUUID = *row.SystemUUID
	}
	return n
}

// nodeSpec returns what an administrator may change of a row.
func nodeSpec(row *ent.Node) NodeSpec {
	n := nodeRecord(row)
	return NodeSpec{
		MACAddress: n.MACAddress, Interfaces: n.Interfaces, Hostname: n.Hostname, IPAddress: n.IPAddress,
		WorkflowID: row.WorkflowID, GroupID: row.GroupID, HomeSiteID: row.HomeSiteID, Arch: n.Arch, BootMode: n.BootMode,
		Vendor: n.Vendor, Model: n.Model, SerialNumber: n.SerialNumber, SystemUUID: n.SystemUUID, Params: n.Params,
		ExtraCmdline: n.ExtraCmdline, NextBoot: n.NextBoot, Tags: n.Tags,
	}
}

func interfaces(row *ent.Node) []wire.Interface {
	cards := make([]wire.Interface, len(row.Edges.Interfaces))
	for i, card := range row.Edges.Interfaces {
		cards[i] = wire.Interface{Name: card.Name, MACAddress: card.MACAddress}
	}
	return cards
}

func text(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

// setNode writes a spec that was checked, but for the interfaces.
func setNode(m *ent.NodeMutation, spec NodeSpec) {
	m.SetMACAddress(spec.MACAddress)
	m.SetHostname(spec.Hostname)
	m.SetIPAddress(spec.IPAddress)
	optional(spec.WorkflowID, m.SetWorkflowID, m.ClearWorkflowID)
	optional(spec.GroupID, m.SetGroupID, m.ClearGroupID)
	optional(spec.HomeSiteID, m.SetHomeSiteID, m.ClearHomeSiteID)
	optional(some[node.Arch](spec.Arch), m.SetArch, m.ClearArch)
	optional(some[node.BootMode](spec.BootMode), m.SetBootMode, m.ClearBootMode)
	m.SetVendor(spec.Vendor)
	m.SetModel(spec.Model)
	m.SetSerialNumber(spec.SerialNumber)
	optional(some[string](spec.SystemUUID), m.SetSystemUUID, m.ClearSystemUUID)
	m.SetParams(texts(spec.Params))
	m.SetExtraCmdline(spec.ExtraCmdline)
	m.SetNextBoot(spec.NextBoot)
	m.SetTags(list(spec.Tags))
}

// install returns what the boots of a row are decided by.
func install(row *ent.Node) lifecycle.Install {
	in := lifecycle.Install{
		State: lifecycle.State(row.State), Seq: row.InstallSeq, Attempts: row.InstallAttempts, LastError: row.LastInstallError,
		Next: lifecycle.NextBoot(row.NextBoot),
	}
	if row.InstallStartedAt != nil {
		in.StartedAt = *row.InstallStartedAt
	}
	return in
}

func setInstall(m *ent.NodeMutation, in lifecycle.Install) {
	m.SetState(node.State(in.State))
	m.SetInstallSeq(in.Seq)
	m.SetInstallAttempts(in.Attempts)
	m.SetLastInstallError(in.LastError)
	m.SetNextBoot(string(in.Next))
	if in.StartedAt.IsZero() {
		m.ClearInstallStartedAt()
	} else {
		m.SetInstallStartedAt(in.StartedAt)
	}
}
