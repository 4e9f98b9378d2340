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

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "?", 0: "0 B", 999: "999 B", 1000: "1.0 kB", 1234: "1.2 kB", 99_949: "99.9 kB", 99_960: "100 kB", 999_600: "1.0 MB",
		50e9: "50.0 GB", 123456e9: "123 TB", 5e18: "5000 PB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
