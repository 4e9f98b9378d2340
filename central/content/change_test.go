package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/ent"
)

func text(t *testing.T, r *Repository, category, path string) string {
	t.Helper()
	f, err := r.Stat(t.Context(), category, path)
	if errors.Is(err, ErrNotFound) {
		return "none"
	} else if err != nil {
		t.Fatal(err)
	}
	text, err := r.root.ReadFile(blobFile(f.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRollBack(t *testing.T) { onBoth(t, testRollBack) }

func testRollBack(t *testing.T, r *Repository) {
	ctx := t.Context()
	back := Rollback{Category: wire.Scripts, Path: "a"}
	if _, err := r.RollBack(ctx, back); !errors.Is(err, ErrNotFound) {
		t.Errorf("a name that never was: %v", err)
	}
	put(t, r, wire.Scripts, "a", "one")
	var conflict *store.Conflict
	if _, err := r.RollBack(ctx, back); !errors.As(err, &conflict) {
		t.Errorf("the only version: %v", err)
	}
	two, _ := put(t, r, wire.Scripts, "a", "two")
	for i, want := range []string{"one", "two", "one"} {
		before := epochOf(t, r)
		f, err := r.RollBack(ctx, back)
		if err != nil || text(t, r, wire.Scripts, "a") != want || f.Size != 3 || epochOf(t, r) != before+1 {
			t.Errorf("turn %d: %+v, %v, it holds %q", i, f, err, text(t, r, wire.Scripts, "a"))
		}
	}
	back.If.IfMatch = ETag(two.SHA256)
	if _, err := r.RollBack(ctx, back); !errors.Is(err, store.ErrVersion) {
		t.Errorf("on the condition that it is another: %v", err)
	}
	back.If = Condition{}
	if err := r.Remove(ctx, Removal{Category: wire.Scripts, Path: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RollBack(ctx, back); err != nil || text(t, r, wire.Scripts, "a") != "one" {
		t.Errorf("once removed: %v, it holds %q", err, text(t, r, wire.Scripts, "a"))
	}
	if _, err := r.RollBack(ctx, back); !errors.As(err, &conflict) {
		t.Errorf("one that was brought back has no other version: %v", err)
	}
	bad := errors.New("bad")
	put(t, r, wire.Scripts, "a", "three")
	back.Also = func(context.Context, *ent.Tx, Edit) error { return bad }
	if _, err := r.RollBack(ctx, back); !errors.Is(err, bad) || text(t, r, wire.Scripts, "a") != "three" {
		t.Errorf("one that could not be noted: %v, it holds %q", err, text(t, r, wire.Scripts, "a"))
	}
}

func TestConditions(t *testing.T) {
	r, ctx := open(t, t.TempDir()), t.Context()
	write := func(text string, when Condition) error {
		_, _, err := r.Put(ctx, Upload{Category: wire.Scripts, Path: "a", Body: strings.NewReader(text), If: when})
		return err
	}
	if err := write("one", Condition{IfMatch: "*"}); !errors.Is(err, store.ErrVersion) {
		t.Errorf("any version of what is none: %v", err)
	}
	if err := write("one", Condition{IfNoneMatch: "*"}); err != nil {
		t.Errorf("only if it is none: %v", err)
	}
	one, err := r.Stat(ctx, wire.Scripts, "a")
	if err != nil {
		t.Fatal(err)
	}
	tag := ETag(one.SHA256)
	for _, c := range []struct {
		when  Condition
		holds bool
	}{
		{Condition{IfNoneMatch: "*"}, false},
		{Condition{IfMatch: `"x"`}, false},
		{Condition{IfMatch: "W/" + tag}, false},
		{Condition{IfNoneMatch: `"x", ` + tag}, false},
		{Condition{IfNoneMatch: `"x"`}, true},
		{Condition{IfMatch: `"x",` + tag}, true},
		{Condition{IfMatch: "*"}, true},
	} {
		err := write("one", c.when)
		if c.holds != (err == nil) || !c.holds && !errors.Is(err, store.ErrVersion) {
			t.Errorf("%+v: %v", c.when, err)
		}
	}
	// What changes while the bytes come is noticed too.
	body := readerFunc(func([]byte) (int, error) {
		put(t, r, wire.Scripts, "a", "two")
		return 0, io.EOF
	})
	_, _, err = r.Put(ctx, Upload{
		Category: wire.Scripts, Path: "a", If: Condition{IfMatch: tag},
		Body: body,
	})
	if !errors.Is(err, store.ErrVersion) || text(t, r, wire.Scripts, "a") != "two" {
		t.Errorf("it has changed: %v, it holds %q", err, text(t, r, wire.Scripts, "a"))
	}
	if err := r.Remove(ctx, Removal{Category: wire.Scripts, Path: "a", If: Condition{IfMatch: tag}}); !errors.Is(err, store.ErrVersion) {
		t.Errorf("removing another version: %v", err)
	}
}

func TestWhatIsUsedIsNotRemoved(t *testing.T) { onBoth(t, testWhatIsUsedIsNotRemoved) }

func testWhatIsUsedIsNotRemoved(t *testing.T, r *Repository) {
	ctx := t.Context()
	for _, path := range []string{"linux", "initrd", "disk.iso", "free"} {
		put(t, r, wire.Images, path, path)
	}
	put(t, r, wire.Templates, "seed", "x")
	site := newSite(t, r, "berlin")
	if _, err := r.Assign(ctx, Assignment{Site: site, Names: []string{"images/initrd", "images/linux"}}); err != nil {
		t.Fatal(err)
	}
	for _, w := range []store.WorkflowSpec{
		{Name: "debian", InstallMethod: "kernel", Kernel: "images/linux", Initrd: []string{"images/initrd"}, Template: "templates/seed"},
		{Name: "iso", InstallMethod: "sanboot", BootURL: "${server}/images/disk.iso"},
		{Name: "other", InstallMethod: "kernel", Kernel: "images/linux2"},
	} {
		if _, err := r.st.CreateWorkflow(ctx, store.Actor{}, w); err != nil {
			t.Fatal(err)
		}
	}
	for name, users := range map[string][]string{
		"images/linux": {"workflows", "debian", "sites", "berlin"}, "images/initrd": {"debian", "berlin"},
		"images/disk.iso": {"iso"}, "templates/seed": {"debian"}, "images/free": nil,
	} {
		category, path, _ := strings.Cut(name, "/")
		rm := Removal{Category: category, Path: path}
		err := r.Remove(ctx, rm)
		if conflict, ok := errors.AsType[*store.Conflict](err); ok != (users != nil) {
			t.Errorf("%s: %v", name, err)
			continue
		} else if ok {
			for _, user := range users {
				if !strings.Contains(conflict.Message, user) {
					t.Errorf("%s: %q does not name %s", name, conflict.Message, user)
				}
			}
			rm.Force = true
			if err := r.Remove(ctx, rm); err != nil {
				t.Errorf("%s with force: %v", name, err)
			}
		}
		if got := text(t, r, category, path); got != "none" {
			t.Errorf("%s is there", name)
		}
	}
	// What comes back is not assigned.
	put(t, r, wire.Images, "linux", "linux")
	if a, err := r.Assigned(ctx, site); err != nil || len(a.Files) != 0 {
		t.Errorf("assigned are %v, %v", a.Files, err)
	}
}

func newSite(t *testing.T, r *Repository, name string) uuid.UUID {
	t.Helper()
	g, err := r.st.CreateGroup(t.Context(), store.Actor{}, true, store.GroupSpec{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return g.ID
}

func TestAssignmentsShowInTheManifest(t *testing.T) { onBoth(t, testAssignmentsShowInTheManifest) }

func testAssignmentsShowInTheManifest(t *testing.T, r *Repository) {
	ctx := t.Context()
	for _, path := range []string{"a", "b", "c", "d"} {
		put(t, r, wire.Images, path, path)
	}
	berlin, paris := newSite(t, r, "berlin"), newSite(t, r, "paris")
	seen := wire.Epoch{}
	changed := func(site uuid.UUID) string {
		var list []string
		cursor := ""
		for {
			m, err := r.Manifest(ctx, site, seen, cursor, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range m.Items {
				mark := "-"
				if item.Assigned {
					mark = "+"
				}
				list = append(list, mark+item.Path)
			}
			if cursor = m.Next; cursor == "" {
				return strings.Join(list, " ")
			}
		}
	}
	assign := func(site uuid.UUID, names ...string) Assigned {
		t.Helper()
		var err error
		if seen, err = r.Epoch(ctx); err != nil {
			t.Fatal(err)
		}
		a, err := r.Assign(ctx, Assignment{Site: site, Names: names})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := assign(berlin, "images/c", "images/a", "images/c")
	if got := changed(berlin); got != "+a +c" {
		t.Errorf("of all, berlin sees %q", got)
	}
	if got := changed(paris); got != "-a -c" {
		t.Errorf("paris sees %q", got)
	}
	second := assign(berlin, "images/b", "images/a")
	if got := changed(berlin); got != "+b -c" {
		t.Errorf("then berlin sees %q", got)
	}
	if got := assign(berlin, "images/a", "images/b"); changed(berlin) != "" || got.ETag != second.ETag {
		t.Errorf("of the same list berlin sees %q", changed(berlin))
	}
	if a, err := r.Assigned(ctx, berlin); err != nil || len(a.Files) != 2 || a.Files[0].Path != "a" || a.ETag != second.ETag {
		t.Errorf("assigned are %+v, %v", a, err)
	}
	_, err := r.Assign(ctx, Assignment{Site: berlin, IfMatch: first.ETag})
	if !errors.Is(err, store.ErrVersion) {
		t.Errorf("over a list that has changed: %v", err)
	}
	_, err = r.Assign(ctx, Assignment{Site: berlin, Names: []string{"images/a", "images/none", "../x", "images/"}})
	invalid, ok := errors.AsType[*store.Invalid](err)
	if !ok || len(invalid.Fields) != 3 {
		t.Errorf("names that cannot be: %v", err)
	}
	if _, err := r.Assign(ctx, Assignment{Site: uuid.New()}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no such site: %v", err)
	}
	// A page's worth is many, and each has an epoch of its own.
	var names []string
	for i := range 30 {
		put(t, r, wire.Scripts, fmt.Sprint(i), "x")
		names = append(names, fmt.Sprintf("scripts/%d", i))
	}
	assign(paris, names...)
	if got := strings.Fields(changed(paris)); len(got) != len(names) {
		t.Errorf("paris sees %v", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
