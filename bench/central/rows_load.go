package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/ent"
)

// findNodes looks nodes up by their MAC addresses at a rate.
func findNodes(ctx context.Context, s *server) (figure, error) {
	return load{Kind: "nodes", Base: s.base, CA: s.ca, Token: s.token, Nodes: s.nodes, Rate: 500, Seconds: s.set.seconds, Profile: s.profile("nodes-mac")}.run(ctx)
}

// bootNodes asks for what nodes boot, as the agents of 100 sites.
func bootNodes(ctx context.Context, s *server) (figure, error) {
	agents := make([]loadAgent, min(100, len(s.sites)))
	for i := range agents {
		agents[i].Site = s.sites[i].String()
		for k := i; k < s.nodes; k += len(s.sites) {
			agents[i].MACs = append(agents[i].MACs, mac(k))
		}
	}
	if err := s.enrol(ctx, agents); err != nil {
		return figure{}, err
	}
	return load{Kind: "boots", Base: s.base, CA: s.ca, Agents: agents, Rate: 500, Seconds: s.set.seconds, Profile: s.profile("boot-mac")}.run(ctx)
}

// heartbeats are those of many agents, each over a connection of its own.
func heartbeats(ctx context.Context, s *server) (figure, error) {
	agents := make([]loadAgent, s.set.agents)
	if err := s.enrol(ctx, agents); err != nil {
		return figure{}, err
	}
	return load{Kind: "heartbeats", Base: s.base, CA: s.ca, Agents: agents, Rate: 200, Seconds: 2 * s.set.seconds, Profile: s.profile("heartbeats")}.run(ctx)
}

// profile is the file for the profile of a row.
func (s *server) profile(row string) string {
	if s.set.profiles == "" {
		return ""
	}
	return filepath.Join(s.set.profiles, s.database+"-"+row+".pprof")
}

// enrol gives agents credentials, and sites to those that have none.
func (s *server) enrol(ctx context.Context, agents []loadAgent) error {
	st, err := store.Open(ctx, store.Options{DSN: s.config.Database, Dir: s.config.DataDir, Log: s.log, Shared: true})
	if err != nil {
		return err
	}
	for begin := 0; err == nil && begin < len(agents); begin += perWrite {
		some := agents[begin:min(begin+perWrite, len(agents))]
		err = st.Write(ctx, func(tx *ent.Tx) error {
			var sites []*ent.DeviceGroupCreate
			rows := make([]*ent.AgentCreate, len(some))
			for i := range some {
				a := &some[i]
				if a.Site == "" {
					id, name := uuid.New(), fmt.Sprintf("branch-%05d", begin+i)
					sites = append(sites, tx.DeviceGroup.Create().SetID(id).SetName(name).SetPath(name).SetIsSite(true))
					a.Site = id.String()
				}
				a.Secret = "secret-of-" + a.Site
				hash := sha256.Sum256([]byte(a.Secret))
				rows[i] = tx.Agent.Create().SetSiteID(uuid.MustParse(a.Site)).SetCredentialHash(hex.EncodeToString(hash[:])).
					SetJoinTokenHash("none").SetEnrolledAt(time.Now().UTC())
			}
			if err := tx.DeviceGroup.CreateBulk(sites...).Exec(ctx); err != nil {
				return err
			}
			return tx.Agent.CreateBulk(rows...).Exec(ctx)
		})
	}
	return errors.Join(err, st.Close())
}
