package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestABarShowsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := &bar{out: &out, began: time.Now(), first: -1}
		b.show("verifying", 0, 4e9)
		time.Sleep(10 * time.Second)
		b.show("verifying", 1e9, 4e9)
		b.show("verifying", 4e9, 4e9)
		b.clear()
		for _, want := range []string{
			"\rverifying [" + strings.Repeat(" ", 30) + "]   0 %  0 B of 4.0 GB",
			"\rverifying [=======" + strings.Repeat(" ", 23) + "]  25 %  1.0 GB of 4.0 GB, 30s left",
			"] 100 %  4.0 GB of 4.0 GB          \r", // over what was longer
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("shown is %q, want %q in it", out.String(), want)
			}
		}
		if lines := strings.Split(out.String(), "\r"); strings.TrimSpace(lines[len(lines)-2]) != "" || lines[len(lines)-1] != "" {
			t.Errorf("it is not cleared: %q", lines)
		}
	})
}

func TestNothingIsShownElsewhereThanOnATerminal(t *testing.T) {
	b := &bar{}
	b.show("verifying", 1, 2)
	b.clear()
}
