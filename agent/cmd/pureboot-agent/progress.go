package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pureboot/pureboot/cli"
)

// look is the pause between two looks at work that goes on in the agent.
const look = 200 * time.Millisecond

// bar shows how far long work is, on one line of a terminal that is written again and again. Elsewhere it shows nothing.
type bar struct {
	out   io.Writer // nil: it is no terminal
	began time.Time
	first int64 // what was done when it began
	wide  int   // of what is shown
}

// newBar returns a bar on standard error.
func newBar() *bar {
	b := &bar{began: time.Now(), first: -1}
	if _, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS); err == nil {
		b.out = os.Stderr
	}
	return b
}

// show says that done of total bytes are done, and when the rest will be if it goes on like that.
func (b *bar) show(what string, done, total int64) {
	if b.out == nil {
		return
	}
	if b.first < 0 {
		b.first = done
	}
	share := 1.0
	if total > 0 {
		share = min(float64(done)/float64(total), 1)
	}
	const cells = 30
	full := int(share * cells)
	line := fmt.Sprintf("%s [%s%s] %3.0f %%  %s of %s%s", what, strings.Repeat("=", full), strings.Repeat(" ", cells-full), 100*share,
		cli.Size(done), cli.Size(total), b.left(done, total))
	fmt.Fprintf(b.out, "\r%-*s", b.wide, line)
	b.wide = len(line)
}

// left is how long the rest takes.
func (b *bar) left(done, total int64) string {
	took := time.Since(b.began)
	if took < time.Second || done <= b.first || done >= total {
		return ""
	}
	rest := time.Duration(float64(took) * float64(total-done) / float64(done-b.first))
	return fmt.Sprintf(", %v left", rest.Round(time.Second))
}

// clear leaves the line as if nothing had been there.
func (b *bar) clear() {
	if b.out != nil && b.wide > 0 {
		fmt.Fprintf(b.out, "\r%*s\r", b.wide, "")
	}
}
