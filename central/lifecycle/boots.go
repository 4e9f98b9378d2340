package lifecycle

import "slices"

// maxBoots is how many processes of an agent are remembered. A restart adds one.
const maxBoots = 32

// Boots are the processes of an agent that central heard, the one that began first, first. Of two that live at once with
// one credential it can tell: a process that ended may have one report under way, which comes after the first of its
// successor. It cannot have two. So the second time that a process is heard after one that began later, both live. A
// restart has a name of its own, and never looks like that; nor does a virtual machine that goes back to a snapshot of
// its memory, after which only the earlier process is heard.
type Boots struct {
	Seen []Boot `json:"seen"`
	Last string `json:"last"` // that was heard last
}

// Boot is one process.
type Boot struct {
	ID   string `json:"id"`
	Late int    `json:"late,omitempty"` // how often it was heard right after one that began later
}

// Hear notes a report of a process. If alive is true, it and one that began later are both alive.
func (b Boots) Hear(id string) (after Boots, alive bool) {
	if id == "" || id == b.Last {
		return b, false
	}
	at := func(id string) int { return slices.IndexFunc(b.Seen, func(p Boot) bool { return p.ID == id }) }
	i, last := at(id), at(b.Last)
	after = Boots{Seen: slices.Clone(b.Seen), Last: id}
	if i < 0 {
		after.Seen = append(after.Seen, Boot{ID: id})
		after.Seen = after.Seen[max(len(after.Seen)-maxBoots, 0):]
	} else if i < last {
		after.Seen[i].Late++
		alive = after.Seen[i].Late > 1
	}
	return after, alive
}
