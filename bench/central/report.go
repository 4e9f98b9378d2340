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
	cpu             time.Duration // of this process for each time
	refused         int           // that were told to come back later
	core            float64       // of a core that this process used all the while; 0 if it was also the client
}

// processor says what of the processor was used.
func (f figure) processor() string {
	if f.core == 0 {
		return brief(f.cpu)
	}
	return fmt.Sprintf("%s, %.2f of a core", brief(f.cpu), f.core)
}

// kept says whether the promise of its row is kept.
func (f figure) kept() bool {
	return f.refused == 0 && (f.row.promise == 0 || f.p50 < f.row.promise) && (f.row.p99 == 0 || f.p99 < f.row.p99) && (f.row.core == 0 || f.core < f.row.core)
}

// repeat does something n times, after a first time that does not count: connections and caches are cold then.
func repeat(n int, do func(i int) (time.Duration, error)) (figure, error) {
	if _, err := do(0); err != nil {
		return figure{}, err
	}
	all := make([]time.Duration, n)
	before := processorTime()
	for i := range all {
		took, err := do(i + 1)
		if err != nil {
			return figure{}, err
		}
		all[i] = took
	}
	cpu := (processorTime() - before) / time.Duration(n)
	slices.Sort(all)
	f := summary(all)
	f.cpu = cpu
	return f, nil
}

// summary is the figure of some times, which are sorted.
func summary(all []time.Duration) figure {
	n := len(all)
	at := func(q float64) time.Duration { return all[min(int(q*float64(n)), n-1)] }
	return figure{n: n, p50: at(0.50), p99: at(0.99), worst: all[n-1]}
}

// processorTime is what this process has used so far: the server, the client, and SQLite.
func processorTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// report collects what was measured, as Markdown.
type report struct {
	command  string
	settings settings
	tables   strings.Builder
}

func (r *report) add(database string, figures []figure) {
	out := &r.tables
	fmt.Fprintf(out, "\n## %s\n\n| `row` | | promise | p50 | p99 | worst | processor | times |\n|---|---|---|---|---|---|---|---|\n",
		map[string]string{"sqlite": "SQLite", "postgres": "PostgreSQL"}[database])
	for _, f := range figures {
		broken := ""
		if !f.kept() {
			broken = " ✗"
		}
		times := fmt.Sprint(f.n)
		if f.refused > 0 {
			times += fmt.Sprintf(", %d refused", f.refused)
		}
		fmt.Fprintf(out, "| `%s` | %s | %s%s | %s | %s | %s | %s | %s |\n",
			f.row.name, f.row.title, f.row.promised(), broken, brief(f.p50), brief(f.p99), brief(f.worst), f.processor(), times)
	}
}

func (r *report) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Results of central\n\nMade by `%s` on %s. [README.md](../README.md) says what is measured.\n\n| | |\n|---|---|\n",
		strings.TrimSpace(r.command), time.Now().UTC().Format("2006-01-02 15:04 MST"))
	for _, fact := range append(machine(), [2]string{"data", fmt.Sprintf("%d sites, %d nodes each; %d agents, each of a site of its own, for the heartbeats", r.settings.sites, r.settings.perSite, r.settings.agents)}) {
		fmt.Fprintf(&out, "| %s | %s |\n", fact[0], fact[1])
	}
	out.WriteString("\n✗ marks a promise that is not kept. *Processor* is the time that server and client together used of a core for each request,\n" +
		"without PostgreSQL's own processes; where a part of a core is named as well, the client was another process and both are the\n" +
		"server's alone, and requests began at their times whether or not those before them had been answered.\n")
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
