package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// report writes what was measured, as Markdown.
func (b *bench) report(w io.Writer, command string, versions map[string]string) error {
	out := new(strings.Builder)
	fmt.Fprintf(out, "# Results\n\nMade by `%s` on %s. [README.md](README.md) says what the rows mean.\n\n", command, time.Now().UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(out, "| | |\n|---|---|\n")
	for _, fact := range machine() {
		fmt.Fprintf(out, "| %s | %s |\n", fact[0], fact[1])
	}
	for _, p := range b.peers {
		fmt.Fprintf(out, "| %s | %s |\n", p.name, versions[p.name])
	}
	for _, s := range b.skipped {
		fmt.Fprintf(out, "\nLeft out: %s.\n", s)
	}
	reps := "One repetition."
	if b.reps > 1 {
		reps = fmt.Sprintf("Medians of %d repetitions (fewer where one takes long); counts of clients are those of all of them.", b.reps)
	}
	fmt.Fprintf(out, "\n%s ✗ marks a promise that is not kept.\n", reps)
	for _, res := range b.results {
		b.section(out, res)
	}
	b.conclusion(out)
	_, err := io.WriteString(w, out.String())
	return err
}

// section is the table of one row.
func (b *bench) section(out *strings.Builder, r *result) {
	fmt.Fprintf(out, "\n## %s\n\n", r.row.title)
	names := []string{}
	for _, p := range b.peers {
		names = append(names, p.name)
	}
	names = append(names, r.row.bases...)
	fmt.Fprintf(out, "| `%s` | promise | %s |\n|---|---|%s\n", r.row.name, strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, label := range r.labels {
		fmt.Fprintf(out, "| %s | %s |", label, r.row.says(label))
		for _, name := range names {
			fmt.Fprintf(out, " %s |", b.cell(r, label, name))
		}
		fmt.Fprintln(out)
	}
	for _, name := range names {
		if why := r.failed[name]; why != "" {
			why, _, _ = strings.Cut(why, "\n")
			fmt.Fprintf(out, "\n%s: %s.\n", name, why)
		}
	}
}

// says returns what is promised of a figure.
func (r *row) says(label string) string {
	var all []string
	for _, p := range r.promises {
		if p.figure != label {
			continue
		}
		text := p.says
		if p.peer != "" {
			text += " (" + p.peer + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func (b *bench) cell(r *result, label, name string) string {
	reps := r.cells[label][name]
	if len(reps) == 0 {
		return "-"
	}
	text := overall(reps).String()
	for _, peer := range b.peers {
		for _, p := range r.row.promises {
			if peer.name == name && p.figure == label && p.broken(peer, reps) {
				return text + " ✗"
			}
		}
	}
	return text
}

// conclusion lists the promises that were not kept.
func (b *bench) conclusion(out *strings.Builder) {
	fmt.Fprintf(out, "\n## Promises not kept\n\n")
	n := 0
	for _, res := range b.results {
		for _, p := range res.broken(b.peers) {
			fmt.Fprintf(out, "- %s\n", p)
			n++
		}
	}
	if n == 0 {
		fmt.Fprintln(out, "None.")
	}
}

// machine says where this runs.
func machine() [][2]string {
	facts := [][2]string{{"CPU", fmt.Sprintf("%s, %d cores", field("/proc/cpuinfo", "model name"), runtime.NumCPU())}}
	if kb, _, ok := strings.Cut(field("/proc/meminfo", "MemTotal"), " "); ok {
		var n float64
		if _, err := fmt.Sscan(kb, &n); err == nil {
			facts = append(facts, [2]string{"memory", fmt.Sprintf("%.0f GiB", n/(1<<20))})
		}
	}
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		facts = append(facts, [2]string{"kernel", charText(u.Sysname[:]) + " " + charText(u.Release[:]) + " " + charText(u.Machine[:])})
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ := strings.Cut(string(text), " ")
		facts = append(facts, [2]string{"load at the end", load})
	}
	return append(facts, [2]string{"Go", runtime.Version()})
}

// field returns what a file of /proc says first of a name.
func field(file, name string) string {
	text, _ := os.ReadFile(file) // it is then not said
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func charText(chars []int8) string {
	var s strings.Builder
	for _, c := range chars {
		if c == 0 {
			break
		}
		s.WriteByte(byte(c))
	}
	return s.String()
}
