// Package inherit works out which settings and parameters are in effect for a group, a site or a node, from the
// chain of groups above it. It is pure.
package inherit

import (
	"maps"
	"slices"
)

// Resolve returns the settings in effect for the first group of a chain that goes up to the root. With an empty
// chain every setting is its default.
func Resolve(chain []Group) Effective {
	return Effective{
		DefaultWorkflowID:  defaultWorkflow(chain),
		AutoProvision:      pick(chain, false, func(s *Settings) *bool { return s.AutoProvision }),
		AutonomyLevel:      pick(chain, "readonly", func(s *Settings) *string { return s.AutonomyLevel }),
		ConflictResolution: pick(chain, "central_wins", func(s *Settings) *string { return s.ConflictResolution }),
		CachePolicy:        pick(chain, "minimal", func(s *Settings) *string { return s.CachePolicy }),
		CachePatterns: pick(chain, []string{}, func(s *Settings) *[]string {
			if s.CachePatterns == nil {
				return nil
			}
			return &s.CachePatterns
		}),
		CacheMaxSizeGB:     pick(chain, 50, func(s *Settings) *int { return s.CacheMaxSizeGB }),
		CacheRetentionDays: pick(chain, 30, func(s *Settings) *int { return s.CacheRetentionDays }),
		DiscoveryMethod:    pick(chain, "dhcp", func(s *Settings) *string { return s.DiscoveryMethod }),
		DiscoveryConfig: pick(chain, map[string]string{}, func(s *Settings) *map[string]string {
			if s.DiscoveryConfig == nil {
				return nil
			}
			return &s.DiscoveryConfig
		}),
		MigrationPolicy:  pick(chain, "manual", func(s *Settings) *string { return s.MigrationPolicy }),
		SyncSchedule:     pick(chain, "0 2 * * *", func(s *Settings) *string { return s.SyncSchedule }),
		SyncMaxMBPerS:    pick(chain, 0, func(s *Settings) *int { return s.SyncMaxMBPerS }),
		HeartbeatSeconds: pick(chain, 60, func(s *Settings) *int { return s.HeartbeatSeconds }),
		Params:           params(chain),
	}
}

func defaultWorkflow(chain []Group) Value[string] {
	return pick(chain, "", func(s *Settings) *string { return s.DefaultWorkflowID })
}

// pick returns the setting of the first group that has it.
func pick[T any](chain []Group, def T, get func(*Settings) *T) Value[T] {
	for i := range chain {
		if v := get(&chain[i].Settings); v != nil {
			return Value[T]{Value: *v, From: chain[i].ID}
		}
	}
	return Value[T]{Value: def, From: Default}
}

// params merges the parameters of a chain key by key; the nearest group wins.
func params(chain []Group) map[string]Value[string] {
	merged := map[string]Value[string]{}
	for _, group := range slices.Backward(chain) {
		for name, value := range group.Params {
			merged[name] = Value[string]{Value: value, From: group.ID}
		}
	}
	return merged
}

// Params returns the parameters of a chain of groups, merged key by key; the nearest group wins.
func Params(chain []Group) map[string]string {
	merged := map[string]string{}
	for _, group := range slices.Backward(chain) {
		maps.Copy(merged, group.Params)
	}
	return merged
}

// SameBoot says whether nodes that inherit a boot the same with b: the default workflow and the parameters have the
// same values, from wherever. What is in effect further below depends on nothing else that is in effect above, so two
// that agree here agree for every group below them.
func SameBoot(a, b Effective) bool {
	return a.DefaultWorkflowID.Value == b.DefaultWorkflowID.Value &&
		maps.EqualFunc(a.Params, b.Params, func(a, b Value[string]) bool { return a.Value == b.Value })
}

// Workflow returns which workflow a node runs: its own, else the default of its group, else that of its home site;
// empty when there is none.
func Workflow(own string, group, site []Group) string { return WorkflowOrigin(own, group, site).Value }

// NodeParams returns the parameters of a node: those of its home site, its group, its workflow and its own, each
// over the ones before it.
func NodeParams(site, group []Group, workflow, own map[string]string) map[string]string {
	merged := Params(site)
	maps.Copy(merged, Params(group))
	maps.Copy(merged, workflow)
	maps.Copy(merged, own)
	return merged
}
