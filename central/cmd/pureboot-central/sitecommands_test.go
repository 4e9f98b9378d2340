package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
)

// TestWhoWaitsSeesHowFarACommandIs: on a terminal in one line, and at the end its result.
func TestWhoWaitsSeesHowFarACommandIs(t *testing.T) {
	answers := []string{`"state":"running","result":"3 of 5 files"`, `"state":"succeeded","result":"5 of 5 files"`}
	var asked atomic.Int32
	central := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"seq":7,%s}`, answers[asked.Add(1)-1])
	}))
	defer central.Close()
	tty, screen := terminal(t, 60)
	var shown bytes.Buffer
	read := make(chan struct{})
	go func() { defer close(read); _, _ = shown.ReadFrom(screen) }()
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	cmd.SetErr(tty)
	cmd.SetContext(t.Context())
	c := &client{base: central.URL, http: central.Client()}
	if err := c.await(cmd, "lyon", "/x", "text"); err != nil {
		t.Error(err)
	}
	tty.Close()
	<-read
	if out.String() != "site lyon: command 7 is succeeded: 5 of 5 files\n" || !strings.Contains(shown.String(), "command 7 is running: 3 of 5 files") {
		t.Errorf("told %q, shown %q", out.String(), shown.String())
	}
}
