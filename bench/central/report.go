package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figure is how long something took, each time it was done.
type figure struct {
	row             row
	n               int
	p50, p99, worst time.Duration
}

// repeat does something n times, after a first time that does not count: connections and caches are cold then.
func repeat(n int, do func(i int) (time.Duration, error)) (figure, error) {
	all := make([]time.Duration, 0, n)
	for i := range n + 1 {
		took, err := do(i)
		if err != nil {
			return figure{}, err
		}
		if i > 0 {
			all = append(all, took)
		}
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[min(int(q*float64(n)), n-1)] }
	return figure{n: n, p50: at(0.50), p99: at(0.99), worst: all[n-1]}, nil
}

// report collects what was measured, as Markdown.
type report struct {
	command  string
	settings settings
	tables   strings.Builder
}

func (r *report) add(database string, figures []figure) {
	out := &r.tables
	fmt.Fprintf(out, "\n## %s\n\n| `row` | | promise for p99 | p50 | p99 | worst | times |\n|---|---|---|---|---|---|---|\n",
		map[string]string{"sqlite": "SQLite", "postgres": "PostgreSQL"}[database])
	for _, f := range figures {
		promise, broken := "", ""
		if f.row.promise > 0 {
			promise = "< " + brief(f.row.promise)
			if f.p99 >= f.row.promise {
				broken = " ✗"
			}
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s | %s%s | %s | %d |\n", f.row.name, f.row.title, promise, brief(f.p50), brief(f.p99), broken, brief(f.worst), f.n)
	}
}

func (r *report) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Results of central\n\nMade by `%s` on %s. [README.md](../README.md) says what is measured.\n\n| | |\n|---|---|\n",
		strings.TrimSpace(r.command), time.Now().UTC().Format("2006-01-02 15:04 MST"))
	for _, fact := range append(machine(), [2]string{"data", fmt.Sprintf("%d sites, %d nodes each", r.settings.sites, r.settings.nodes)}) {
		fmt.Fprintf(&out, "| %s | %s |\n", fact[0], fact[1])
	}
	out.WriteString("\n✗ marks a promise that is not kept.\n")
	return out.String() + r.tables.String()
}

// brief rounds a time to what matters of it.
func brief(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2g ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
}

// machine says where this runs.
func machine() [][2]string {
	cpu := "unknown"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	facts := [][2]string{{"CPU", fmt.Sprintf("%s, %d cores", cpu, runtime.NumCPU())}, {"load at the end", load}, {"Go", runtime.Version()}}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		facts = append(facts, [2]string{"memory", fmt.Sprintf("%d GiB", (uint64(info.Totalram)*uint64(info.Unit)+1<<29)>>30)})
	}
	return facts
}
