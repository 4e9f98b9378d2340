package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/devicegroup"
	"github.com/pureboot/pureboot/ent/nodeinterface"
	"github.com/pureboot/pureboot/ent/workflow"
)

// What one node has at most.
const (
	maxInterfaces = 32
	maxTags       = 64
)

// NodeSpec is what an administrator may say of a node.
type NodeSpec struct {
	MACAddress   string            `json:"mac_address" minLength:"1" maxLength:"17" doc:"Primary MAC address, in any usual notation"`
	Interfaces   []wire.Interface  `json:"interfaces,omitempty" maxItems:"32" doc:"Every network card; the primary one may be left out"`
	Hostname     string            `json:"hostname,omitempty" maxLength:"253"`
	IPAddress    string            `json:"ip_address,omitempty" maxLength:"45"`
	WorkflowID   *uuid.UUID        `json:"workflow_id,omitempty" format:"uuid" doc:"Left out: the default of its group or home site"`
	GroupID      *uuid.UUID        `json:"group_id,omitempty" format:"uuid"`
	HomeSiteID   *uuid.UUID        `json:"home_site_id,omitempty" format:"uuid" doc:"The site where it physically boots"`
	Arch         string            `json:"arch,omitempty" enum:"x86_64,arm64"`
	BootMode     string            `json:"boot_mode,omitempty" enum:"bios,uefi"`
	Vendor       string            `json:"vendor,omitempty" maxLength:"200"`
	Model        string            `json:"model,omitempty" maxLength:"200"`
	SerialNumber string            `json:"serial_number,omitempty" maxLength:"200"`
	SystemUUID   string            `json:"system_uuid,omitempty" format:"uuid"`
	Params       map[string]string `json:"params,omitempty"`
	ExtraCmdline string            `json:"extra_cmdline,omitempty" maxLength:"4096"`
	NextBoot     string            `json:"next_boot,omitempty" maxLength:"36" doc:"For one boot, over what the state says: local, installer or the id of a workflow"`
	Tags         []string          `json:"tags,omitempty" maxItems:"64"`
}

// Check returns what is wrong with the node. What is right it brings into the form that is kept: the MAC addresses
// in lower case with colons, the primary interface first.
func (n *NodeSpec) Check() []wire.ProblemField {
	var f faults
	mac, err := lifecycle.ParseMAC(n.MACAddress)
	if err != nil {
		f.add("mac_address", n.MACAddress, "%v", err)
	}
	n.MACAddress = mac
	interfaces, seen := []wire.Interface{{MACAddress: mac}}, map[string]bool{}
	for i, card := range n.Interfaces {
		field := fmt.Sprintf("interfaces[%d]", i)
		f.line(field+".name", card.Name, 64)
		card.MACAddress, err = lifecycle.ParseMAC(card.MACAddress)
		switch {
		case err != nil:
			f.add(field+".mac_address", n.Interfaces[i].MACAddress, "%v", err)
		case seen[card.MACAddress]:
			f.add(field+".mac_address", card.MACAddress, "is there twice")
		case card.MACAddress == mac:
			interfaces[0] = card
		default:
			interfaces = append(interfaces, card)
		}
		seen[card.MACAddress] = true
	}
	if len(interfaces) > maxInterfaces {
		f.add("interfaces", len(interfaces), "more than %d", maxInterfaces)
	}
	n.Interfaces = interfaces
	f.hostname("hostname", n.Hostname)
	if n.IPAddress != "" {
		ip, err := netip.ParseAddr(n.IPAddress)
		if err != nil || ip.Zone() != "" {
			f.add("ip_address", n.IPAddress, "not an IP address")
		}
		n.IPAddress = ip.String()
	}
	f.line("vendor", n.Vendor, maxFact)
	f.line("model", n.Model, maxFact)
	f.line("serial_number", n.SerialNumber, maxFact)
	if n.SystemUUID != "" {
		id, err := uuid.Parse(n.SystemUUID)
		if err != nil {
			f.add("system_uuid", n.SystemUUID, "not a UUID")
		}
		n.SystemUUID = id.String()
	}
	f.params("params", n.Params)
	f.line("extra_cmdline", n.ExtraCmdline, maxParam)
	if id := lifecycle.NextBoot(n.NextBoot).Workflow(); id != "" {
		if parsed, err := uuid.Parse(id); err != nil {
			f.add("next_boot", clean(id, maxName), "want local, installer or the id of a workflow")
		} else {
			n.NextBoot = parsed.String()
		}
	}
	if len(n.Tags) > maxTags {
		f.add("tags", len(n.Tags), "more than %d", maxTags)
	}
	for i, tag := range n.Tags {
		field := fmt.Sprintf("tags[%d]", i)
		f.line(field, tag, maxName)
		if tag == "" {
			f.add(field, nil, "is empty")
		} else if slices.Contains(n.Tags[:i], tag) {
			f.add(field, tag, "is there twice")
		}
	}
	return f
}

// checkNode checks a node that shall be as spec says.
func checkNode(ctx context.Context, tx *ent.Tx, id uuid.UUID, spec *NodeSpec) error {
	f := faults(spec.Check())
	refers := func(field string, to *uuid.UUID, exists func(uuid.UUID) (bool, error)) error {
		if to == nil {
			return nil
		}
		known, err := exists(*to)
		if err == nil && !known {
			f.add(field, to, "there is none with this id")
		}
		return err
	}
	if err := refers("workflow_id", spec.WorkflowID, func(id uuid.UUID) (bool, error) {
		return tx.Workflow.Query().Where(workflow.ID(id)).Exist(ctx)
	}); err != nil {
		return err
	}
	if next, err := uuid.Parse(spec.NextBoot); err == nil {
		if err := refers("next_boot", &next, func(id uuid.UUID) (bool, error) {
			return tx.Workflow.Query().Where(workflow.ID(id)).Exist(ctx)
		}); err != nil {
			return err
		}
	}
	if err := refers("group_id", spec.GroupID, func(id uuid.UUID) (bool, error) {
		return tx.DeviceGroup.Query().Where(devicegroup.ID(id)).Exist(ctx)
	}); err != nil {
		return err
	}
	if err := refers("home_site_id", spec.HomeSiteID, func(id uuid.UUID) (bool, error) {
		return tx.DeviceGroup.Query().Where(devicegroup.ID(id), devicegroup.IsSite(true)).Exist(ctx)
	}); err != nil {
		return err
	}
	if err := f.err(); err != nil {
		return err
	}
	macs := make([]string, len(spec.Interfaces))
	for i, card := range spec.Interfaces {
		macs[i] = card.MACAddress
	}
	taken, err := tx.NodeInterface.Query().
		Where(nodeinterface.MACAddressIn(macs...), nodeinterface.NodeIDNEQ(id)).First(ctx)
	if ent.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	field := "body.interfaces"
	if taken.MACAddress == spec.MACAddress {
		field = "body.mac_address"
	}
	return &Conflict{Field: field, Message: fmt.Sprintf("%s belongs to node %s", taken.MACAddress, taken.NodeID)}
}

// replacePrimary takes a new primary MAC address, alone in an edit, for that of another card in the same place: the
// old one is not kept beside it. The edit was checked, so it has the new one before the interfaces that were there.
func replacePrimary(old NodeSpec, spec *NodeSpec) {
	if spec.MACAddress == old.MACAddress || len(spec.Interfaces) == 0 || !slices.Equal(old.Interfaces, spec.Interfaces[1:]) {
		return
	}
	spec.Interfaces = slices.Clone(old.Interfaces)
	spec.Interfaces[0].MACAddress = spec.MACAddress
}
