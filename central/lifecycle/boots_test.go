package lifecycle

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBoots(t *testing.T) {
	for heard, alive := range map[string]string{
		"":            "",
		"x x x x":     "",
		"x x y y z z": "", // restarts
		// The last report of a process that ended comes late, of each that did.
		"x y x y y y":         "",
		"x y z x y z z":       "",
		"x y x y z y z w z w": "",
		"x y x x x x x":       "", // back to a snapshot of the memory
		// Two are alive.
		"x y x y x":         "x",
		"x x y x x y x":     "x",
		"x y x y x y":       "x",
		"x y y y x x y y x": "x",
		"x y z x y z x":     "x", // three
		// The one that began first ended long ago.
		"x y z y z y": "y",
	} {
		t.Run(heard, func(t *testing.T) {
			var b Boots
			found := ""
			for id := range strings.FieldsSeq(heard) {
				var two bool
				if b, two = b.Hear(id); two && found == "" {
					found = id
				}
			}
			if found != alive {
				t.Errorf("alive beside another: %q, want %q: %+v", found, alive, b)
			}
		})
	}
}

// TestBootsOfOneAgent: whenever it restarts, and whatever comes late, it is one.
func TestBootsOfOneAgent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Boots
		var late []string
		for n := range rapid.IntRange(1, 60).Draw(t, "processes") {
			id := fmt.Sprint(n)
			for range rapid.IntRange(1, 4).Draw(t, "reports") {
				hear := []string{id}
				if len(late) > 0 && rapid.Bool().Draw(t, "late") {
					i := rapid.IntRange(0, len(late)-1).Draw(t, "which")
					hear, late = append(hear, late[i]), append(late[:i], late[i+1:]...)
				}
				for _, id := range hear {
					var alive bool
					if b, alive = b.Hear(id); alive {
						t.Fatalf("%s of one agent is taken for another's: %+v", id, b)
					}
				}
			}
			late = append(late, id)
			if rapid.Bool().Draw(t, "lost") {
				late = late[:len(late)-1]
			}
		}
		if len(b.Seen) > maxBoots {
			t.Fatalf("%d are remembered", len(b.Seen))
		}
	})
}

// TestBootsOfTwoAgents: whatever was before, two that take turns are found within five of them.
func TestBootsOfTwoAgents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Boots
		names := [2]string{"a", "b"}
		history := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 20).Draw(t, "history")
		for i, what := range append(history, 0, 1, 0, 1, 0) {
			if what > 1 {
				names[what-2] = fmt.Sprint(names[what-2], i) // restarts
				continue
			}
			for range rapid.IntRange(1, 3).Draw(t, "reports") {
				var alive bool
				if b, alive = b.Hear(names[what]); alive {
					return
				}
			}
		}
		t.Fatalf("nobody noticed: %+v", b)
	})
}
