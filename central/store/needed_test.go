package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

func TestWhatASitesWorkflowsName(t *testing.T) { onBoth(t, testWhatASitesWorkflowsName) }

func testWhatASitesWorkflowsName(t *testing.T, o Options) {
	f, ctx := fixed(t, o), t.Context()
	workflow := func(name string, edit func(*WorkflowSpec)) uuid.UUID {
		t.Helper()
		spec := WorkflowSpec{
			Name: name, InstallMethod: "kernel", Kernel: "images/" + name + "/linux", Initrd: []string{"images/" + name + "/initrd"},
			Template: "templates/" + name + ".cfg",
		}
		if edit != nil {
			edit(&spec)
		}
		w, err := f.CreateWorkflow(ctx, root, spec)
		if err != nil {
			t.Fatal(err)
		}
		return uuid.MustParse(w.ID)
	}
	nodes := 0
	node := func(edit func(*NodeSpec)) uuid.UUID {
		t.Helper()
		nodes++
		spec := NodeSpec{MACAddress: fmt.Sprintf("52:54:00:00:01:%02x", nodes), HomeSiteID: &f.berlin.ID}
		edit(&spec)
		n, err := f.CreateNode(ctx, root, spec, lifecycle.Discovered)
		if err != nil {
			t.Fatal(err)
		}
		return uuid.MustParse(n.ID)
	}
	var last wire.Needed
	want := func(what string, names, globs []string) {
		t.Helper()
		got, err := f.Needed(ctx, f.berlin.ID)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		if !slices.Equal(got.Names, names) || !slices.Equal(got.Globs, globs) {
			t.Errorf("%s: %v and %v, want %v and %v", what, got.Names, got.Globs, names, globs)
		}
		if same := slices.Equal(got.Names, last.Names) && slices.Equal(got.Globs, last.Globs); last.Tag != "" && same != (got.Tag == last.Tag) {
			t.Errorf("%s: the tag is %s, and was %s", what, got.Tag, last.Tag)
		}
		last = got
	}
	all := func(names ...string) (files []string) {
		for _, name := range names {
			files = append(files, "images/"+name+"/linux", "images/"+name+"/initrd", "templates/"+name+".cfg")
		}
		return files
	}

	want("nothing", nil, nil)
	own, def, group, once := workflow("own", nil), workflow("default", nil), workflow("group", nil), workflow("once", nil)
	workflow("unused", nil)
	want("workflows that nobody runs", nil, nil)
	if _, err := f.UpdateGroup(ctx, root, true, f.berlin.ID, 0, func(g GroupSpec) (GroupSpec, error) {
		id := def.String()
		g.DefaultWorkflowID = &id
		return g, nil
	}); err != nil {
		t.Fatal(err)
	}
	want("the site's default", all("default"), nil)
	first := node(func(n *NodeSpec) { n.WorkflowID = &own })
	node(func(n *NodeSpec) { n.WorkflowID, n.HomeSiteID = &group, &f.rome.ID })
	want("a node's own", all("default", "own"), nil)
	rack, err := f.CreateGroup(ctx, root, false, GroupSpec{Name: "rack"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.UpdateGroup(ctx, root, false, rack.ID, 0, func(g GroupSpec) (GroupSpec, error) {
		id := group.String()
		g.DefaultWorkflowID = &id
		return g, nil
	}); err != nil {
		t.Fatal(err)
	}
	node(func(n *NodeSpec) { n.GroupID = &rack.ID })
	want("its group's", all("default", "own", "group"), nil)
	if err := f.Write(ctx, func(tx *ent.Tx) error {
		return tx.Node.UpdateOneID(first).SetNextBoot(once.String()).Exec(ctx)
	}); err != nil {
		t.Fatal(err)
	}
	want("that of the next boot", all("default", "own", "group", "once"), nil)

	asking := workflow("asking", func(w *WorkflowSpec) {
		w.Kernel, w.Template = "/images/${buildarch}/li[nux", "templates/${param.role}.cfg"
		w.Initrd = []string{"images/${param.firmware}/a", "images/$${version}/b", "http://elsewhere/x", "images/${param.unknown}/c"}
		w.Params = map[string]string{"firmware": "intel"}
	})
	node(func(n *NodeSpec) { n.WorkflowID, n.Params = &asking, map[string]string{"role": "db"} })
	node(func(n *NodeSpec) {
		n.WorkflowID, n.Params = &asking, map[string]string{"role": "web", "firmware": "amd"}
	})
	want("names that depend on the machine", append(all("default", "own", "group", "once"),
		"templates/db.cfg", "templates/web.cfg", "images/intel/a", "images/amd/a"), []string{"images/*/b", `images/*/li\[nux`})
	disk := workflow("disk", func(w *WorkflowSpec) {
		w.InstallMethod, w.BootURL, w.Kernel, w.Initrd, w.Template = "sanboot", "${server}/images/tool.iso", "", nil, ""
	})
	node(func(n *NodeSpec) { n.WorkflowID = &disk })
	plain := workflow("plain", func(w *WorkflowSpec) {
		w.InstallMethod, w.BootURL, w.Kernel, w.Initrd, w.Template = "chain", "images/tool.efi", "", nil, ""
	})
	node(func(n *NodeSpec) { n.WorkflowID = &plain })
	got, err := f.Needed(ctx, f.berlin.ID)
	if err != nil || !slices.Contains(got.Names, "images/tool.iso") || !slices.Contains(got.Names, "images/tool.efi") {
		t.Errorf("what is booted from the site itself: %v, %v", got.Names, err)
	}
}
