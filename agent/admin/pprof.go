package admin

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"sync"
	"time"
)

// PathProfiles is below which the running agent is profiled, as go tool pprof expects it. For 30 seconds of what the
// processor does:
//
//	curl --unix-socket /run/pureboot-agent/admin.sock -o cpu.pprof http://agent/debug/pprof/profile?seconds=30
const PathProfiles = "/debug/pprof/"

// maxProfileTime bounds how long one profile takes.
const maxProfileTime = 5 * time.Minute

// profiles serves the runtime's profiles. Who can reach the socket may stop the agent too; what a profile shows is the
// program's own functions, and it costs nothing while nobody asks. The command line, which is not for everybody, is
// left out.
type profiles struct {
	mu     sync.Mutex
	askers int // for contention, which is sampled while there are any
}

func (p *profiles) add(mux *http.ServeMux) {
	mux.HandleFunc("GET "+PathProfiles, pprof.Index)
	mux.HandleFunc("GET "+PathProfiles+"profile", bounded(pprof.Profile))
	mux.HandleFunc("GET "+PathProfiles+"trace", bounded(pprof.Trace))
	mux.HandleFunc("GET "+PathProfiles+"mutex", bounded(p.contended(pprof.Handler("mutex"))))
	mux.HandleFunc("GET "+PathProfiles+"block", bounded(p.contended(pprof.Handler("block"))))
	mux.HandleFunc("GET "+PathProfiles+"cmdline", http.NotFound)
}

// bounded refuses what would take longer than anybody waits.
func bounded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(r.FormValue("seconds") + "s"); err == nil && d > maxProfileTime {
			http.Error(w, "no more than 5 minutes", http.StatusBadRequest)
			return
		}
		next(w, r)
	}
}

// contended has the waiting for locks sampled for as long as next takes, which is ?seconds=N.
func (p *profiles) contended(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.sample(1)
		defer p.sample(-1)
		next.ServeHTTP(w, r)
	}
}

func (p *profiles) sample(more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.askers += more
	mutexes, blocks := 0, 0
	if p.askers > 0 {
		mutexes, blocks = 10, int(10*time.Microsecond) // one event in ten, and one per 10 µs of waiting
	}
	runtime.SetMutexProfileFraction(mutexes)
	runtime.SetBlockProfileRate(blocks)
}
