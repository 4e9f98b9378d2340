package store

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
	"github.com/pureboot/pureboot/ent/node"
)

// RegisterNode finds the machine by any of its MAC addresses, else by its system UUID, and adds what is not known of
// it yet; what is known stays. A machine never seen is made a node of the agent's site, in the state that the site's
// settings say. A node without a home gets that of the agent. One of another site is claimed, see ClaimNode, and is a
// *Conflict until the claim is approved, which tells the agent nothing of the node.
func (s *Store) RegisterNode(ctx context.Context, by Actor, r wire.Registration) (n wire.Node, created bool, err error) {
	mac, err := lifecycle.ParseMAC(r.MACAddress)
	if err != nil {
		var f faults
		f.add("mac_address", clean(r.MACAddress, maxName), "%v", err)
		return wire.Node{}, false, f.err()
	}
	facts := factsOf(mac, r)
	var claimed error // what the agent is told of a claim that is kept
	err = s.Write(ctx, func(tx *ent.Tx) error {
		claimed = nil
		row, err := lookup(ctx, tx, mac, facts.SystemUUID)
		if ent.IsNotFound(err) {
			created = true
			n, err = discover(ctx, tx, by, facts)
			return err
		} else if err != nil {
			return err
		}
		created = false
		if by.agent() && row.HomeSiteID != nil && *row.HomeSiteID != by.Site {
			claim, err := claimNode(ctx, tx, by, row)
			if err != nil {
				return err
			}
			if claim.Status != string(lifecycle.Approved) {
				claimed = &Conflict{Message: "this machine belongs to another site, which has to let it go", Field: "body.mac_address"}
				return nil
			}
			if row, err = tx.Node.Query().Where(node.ID(row.ID)).WithInterfaces(inOrder).Only(ctx); err != nil {
				return missing(err)
			}
		}
		n, err = sight(ctx, tx, by, row, facts)
		return err
	})
	if err == nil && claimed != nil {
		return wire.Node{}, false, claimed
	}
	return n, created, err
}

// factsOf keeps of what a machine's firmware says what can be true.
func factsOf(mac string, r wire.Registration) NodeSpec {
	facts := NodeSpec{
		MACAddress: mac, Interfaces: []wire.Interface{{MACAddress: mac}},
		Vendor: clean(r.Vendor, maxFact), Model: clean(r.Model, maxFact), SerialNumber: clean(r.SerialNumber, maxFact),
		SystemUUID: systemUUID(r.SystemUUID),
	}
	if len(r.Hostname) <= 253 && hostname.MatchString(r.Hostname) {
		facts.Hostname = r.Hostname
	}
	if ip, err := netip.ParseAddr(r.IPAddress); err == nil && ip.Zone() == "" {
		facts.IPAddress = ip.String()
	}
	if node.ArchValidator(node.Arch(r.Arch)) == nil {
		facts.Arch = r.Arch
	}
	if node.BootModeValidator(node.BootMode(r.BootMode)) == nil {
		facts.BootMode = r.BootMode
	}
	return facts
}

// systemUUID returns a UUID in its usual form, or nothing when it is one that boards have which were never given
// their own: it would make strangers one node.
func systemUUID(s string) string {
	id, err := uuid.Parse(s)
	if err != nil || id == uuid.Nil || id == uuid.Max {
		return ""
	}
	switch id.String() {
	case "03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc":
		return ""
	}
	return id.String()
}

// lookup finds a machine by a MAC address, else by its system UUID if only one node has it.
func lookup(ctx context.Context, tx *ent.Tx, mac, systemUUID string) (*ent.Node, error) {
	row, err := tx.Node.Query().Where(byMAC(mac)).WithInterfaces(inOrder).Only(ctx)
	if !ent.IsNotFound(err) || systemUUID == "" {
		return row, err
	}
	rows, uuidErr := tx.Node.Query().Where(node.SystemUUID(systemUUID)).WithInterfaces(inOrder).Limit(2).All(ctx)
	if uuidErr != nil {
		return nil, uuidErr
	}
	if len(rows) == 1 {
		return rows[0], nil
	}
	return nil, err
}

// discover makes a node of a machine never seen.
func discover(ctx context.Context, tx *ent.Tx, by Actor, facts NodeSpec) (wire.Node, error) {
	in := lifecycle.Discover(false, false)
	if by.agent() {
		site, err := tx.DeviceGroup.Get(ctx, by.Site)
		if err != nil {
			return wire.Node{}, missing(err)
		}
		up, err := ancestors(ctx, tx, site)
		if err != nil {
			return wire.Node{}, err
		}
		settings := inherit.Resolve(up.chain(&site.ID))
		in = lifecycle.Discover(settings.AutoProvision.Value, settings.DefaultWorkflowID.Value != "")
		facts.HomeSiteID = &site.ID
	}
	n, err := insertNode(ctx, tx, by, facts, in, "discovered")
	if err != nil {
		return n, err
	}
	return n, auditAdmin(ctx, tx, by, Act{Action: "node.register", Subject: "node/" + n.ID, After: n})
}

// sight adds what a known machine says of itself, which is of the agent's site or of none.
func sight(ctx context.Context, tx *ent.Tx, by Actor, row *ent.Node, facts NodeSpec) (wire.Node, error) {
	update := tx.Node.UpdateOneID(row.ID).SetLastSeenAt(now())
	news := false
	if by.agent() && row.HomeSiteID == nil {
		update.SetHomeSiteID(by.Site)
		news = true
	}
	fill := func(known, told string, set func(string)) {
		if known == "" && told != "" {
			set(told)
			news = true
		}
	}
	m := update.Mutation()
	n := nodeRecord(row)
	fill(n.Hostname, facts.Hostname, m.SetHostname)
	fill(n.IPAddress, facts.IPAddress, m.SetIPAddress)
	fill(n.Arch, facts.Arch, func(s string) { m.SetArch(node.Arch(s)) })
	fill(n.BootMode, facts.BootMode, func(s string) { m.SetBootMode(node.BootMode(s)) })
	fill(n.Vendor, facts.Vendor, m.SetVendor)
	fill(n.Model, facts.Model, m.SetModel)
	fill(n.SerialNumber, facts.SerialNumber, m.SetSerialNumber)
	fill(n.SystemUUID, facts.SystemUUID, m.SetSystemUUID)
	if !hasMAC(n, facts.MACAddress) && len(n.Interfaces) < maxInterfaces {
		err := tx.NodeInterface.Create().SetNodeID(row.ID).SetMACAddress(facts.MACAddress).SetPosition(len(n.Interfaces)).Exec(ctx)
		if err != nil {
			return n, fmt.Errorf("add interface %s: %w", facts.MACAddress, err)
		}
		news = true
	}
	if news {
		return saveNode(ctx, tx, by, update)
	}
	if err := seen(ctx, row, update); err != nil {
		return n, err
	}
	return reload(ctx, tx, row.ID)
}

func hasMAC(n wire.Node, mac string) bool {
	for _, card := range n.Interfaces {
		if card.MACAddress == mac {
			return true
		}
	}
	return false
}
