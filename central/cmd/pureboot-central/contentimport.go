package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

// Outcomes of a file's import.
const (
	stored    = "stored"    // its bytes were sent
	known     = "known"     // central had the bytes under another name
	unchanged = "unchanged" // central had the file
	planned   = "planned"   // it would be stored, but for --dry-run
	failed    = "failed"
)

// imported is what became of a file.
type imported struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256,omitempty"`
	Outcome string `json:"outcome"`
	Sent    int64  `json:"sent"` // bytes
	Error   string `json:"error,omitempty"`
}

func contentImportCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import DIR|FILE",
		Short: "Upload all files below a directory, or one file",
		Long: "Files that central has are skipped by their digests, and of those that it has under another name no bytes are sent.\n" +
			"What was cut off, by the network or by an end of this command, is continued.",
		Example: "  pureboot-central content import ./debian-installer --category images --prefix debian-12",
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	category := flags.String("category", "", "one of "+strings.Join(wire.Categories, ", "))
	prefix := flags.String("prefix", "", "what the paths begin with, in front of those below DIR")
	dry := flags.Bool("dry-run", false, "only say what would be done")
	again := flags.Bool("again", false, "upload also what central has, which repairs what is damaged there")
	jobs := flags.Int("jobs", 4, "files at a time")
	format := cli.Output(cmd)
	_ = cmd.MarkFlagRequired("category") // it fails only for a flag that is not there
	cli.Offer(cmd, "category", wire.Categories...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *jobs < 1 || *jobs > 16 {
			return errors.New("--jobs: want 1 to 16")
		}
		if !slices.Contains(wire.Categories, *category) {
			return fmt.Errorf("--category: %q is not one of %s", *category, strings.Join(wire.Categories, ", "))
		}
		tree, err := openTree(args[0], *category, *prefix)
		if err != nil {
			return err
		}
		defer tree.close()
		for _, name := range tree.skipped {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is neither a file nor a link to one below %s: left out\n", name, args[0])
		}
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		run := importer{c: c, tree: tree, dry: *dry, again: *again}
		if err := run.look(cmd.Context(), *category, tree.prefix); err != nil {
			return err
		}
		run.bar = newProgress(cmd.ErrOrStderr(), tree.bytes)
		results, err := run.all(cmd.Context(), *jobs)
		run.bar.end()
		if printErr := cli.Print(cmd, *format, results, func() error { return summary(cmd, results) }); printErr != nil {
			return errors.Join(err, printErr)
		}
		return cmp.Or(err, complaint(results))
	}
	return cmd
}

// summary says what was done: each failure, each file that was or would be stored, and how many there are.
func summary(cmd *cobra.Command, results []imported) error {
	count, sent := map[string]int{}, int64(0)
	for _, r := range results {
		count[r.Outcome]++
		sent += r.Sent
		switch r.Outcome {
		case failed:
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", r.Name, r.Error)
		case unchanged:
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", r.Outcome, r.Name)
		}
	}
	var parts []string
	for _, outcome := range []string{stored, known, planned, unchanged, failed} {
		if n := count[outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, outcome))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing to import"}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s; %s sent\n", strings.Join(parts, ", "), cli.Size(sent))
	return err
}

// complaint is the error of an import that left something out.
func complaint(results []imported) error {
	n := 0
	for _, r := range results {
		if r.Outcome == failed {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d files were not imported; the same command again goes on with them", n, len(results))
}

// importer uploads the files of a tree.
type importer struct {
	c          *client
	tree       *tree
	dry, again bool
	bar        *progress

	has      map[string]wire.File // what central has, by name
	sessions map[session]string   // uploads that were cut off, and where they are
}

// session is what an upload is for.
type session struct {
	name, sha256 string
	size         int64
}

// look finds out what central has.
func (i *importer) look(ctx context.Context, category, prefix string) error {
	files, err := list[wire.File](ctx, i.c, wire.PathContent, url.Values{"category": {category}, "prefix": {prefix}})
	if err != nil {
		return err
	}
	i.has = make(map[string]wire.File, len(files))
	for _, f := range files {
		i.has[nameOf(f)] = f
	}
	i.sessions, err = i.c.sessions(ctx)
	return err
}

// all imports every file, some at a time. What is wrong with one file is in its result, and the others go on; an error
// is one that the next file would meet as well.
func (i *importer) all(ctx context.Context, jobs int) ([]imported, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	var mu sync.Mutex
	results := []imported{}
	for _, f := range i.tree.files {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			r, err := i.one(ctx, f)
			if err != nil {
				r.Outcome, r.Error = failed, err.Error()
			}
			mu.Lock()
			results = append(results, r)
			mu.Unlock()
			if hopeless(err) || ctx.Err() != nil {
				return err
			}
			return nil
		})
	}
	err := group.Wait()
	slices.SortFunc(results, func(a, b imported) int { return cmp.Compare(a.Name, b.Name) })
	return results, err
}

// hopeless says whether the next file would be refused for the same reason.
func hopeless(err error) bool {
	refused, ok := errors.AsType[*wire.Refusal](err)
	return ok && (refused.Status == 401 || refused.Status == 403 || refused.Status == 507)
}

// one imports a file.
func (i *importer) one(ctx context.Context, f source) (imported, error) {
	r := imported{Name: f.name, Size: f.size, Outcome: failed}
	file, err := i.tree.open(f)
	if err != nil {
		return r, err
	}
	defer file.Close()
	if r.SHA256, err = digest(ctx, file, f.size); err != nil {
		return r, fmt.Errorf("read it: %w", err)
	}
	if have, ok := i.has[f.name]; ok && have.SHA256 == r.SHA256 && !i.again {
		r.Outcome = unchanged
		i.bar.add(f.size)
		return r, nil
	}
	if i.dry {
		r.Outcome = planned
		i.bar.add(f.size)
		return r, nil
	}
	up := upload{c: i.c, bar: i.bar, file: file, of: session{f.name, r.SHA256, f.size}, again: i.again}
	up.at = i.sessions[up.of]
	r.Sent, err = up.run(ctx)
	if err != nil {
		return r, err
	}
	if r.Outcome = stored; up.known && r.Sent == 0 {
		r.Outcome = known
	}
	return r, nil
}
