package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pureboot/pureboot/cli"
)

// progress shows on a terminal how far long work is. Its methods may be called at once from many goroutines.
type progress struct {
	total int64 // bytes
	done  atomic.Int64
	began time.Time

	out   io.Writer // nil where nobody looks
	width int       // columns
	stop  chan struct{}
	shown sync.WaitGroup
}

// newProgress begins to show the progress of so many bytes, if err is a terminal. The caller ends it.
func newProgress(err io.Writer, total int64) *progress {
	p := &progress{total: total, began: time.Now(), stop: make(chan struct{})}
	if p.width = columns(err); p.width > 0 {
		p.out = err
		p.shown.Go(p.show)
	}
	return p
}

// columns returns how wide a terminal is; 0 if it is none.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(40, int(size.Col))
}

// add counts bytes that are done; fewer than none takes some back, that have to be done again.
func (p *progress) add(bytes int64) { p.done.Add(bytes) }

// show draws five times a second until the end.
func (p *progress) show() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprint(p.out, "\r"+line(p.done.Load(), p.total, time.Since(p.began), p.width-1))
		select {
		case <-tick.C:
		case <-p.stop:
			fmt.Fprint(p.out, "\r"+strings.Repeat(" ", p.width-1)+"\r")
			return
		}
	}
}

// end takes the bar away.
func (p *progress) end() {
	close(p.stop)
	p.shown.Wait()
}

// line is a bar with its numbers, exactly so wide.
func line(done, total int64, took time.Duration, width int) string {
	part := 1.0
	if total > 0 {
		part = min(1, max(0, float64(done)/float64(total)))
	}
	numbers := fmt.Sprintf(" %3.0f %% of %s", 100*part, cli.Size(total))
	if rate := float64(done) / took.Seconds(); took >= time.Second && rate >= 1 {
		left := time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second)
		numbers += fmt.Sprintf(", %s/s, %v left", cli.Size(int64(rate)), max(0, left))
	}
	bar := max(0, width-len(numbers)-2)
	full := int(part * float64(bar))
	text := "[" + strings.Repeat("=", full) + strings.Repeat(" ", bar-full) + "]" + numbers
	return fmt.Sprintf("%-*.*s", width, width, text)
}
