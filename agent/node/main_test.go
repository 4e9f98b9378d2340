package node

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		reportUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// journal is what a store under test logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), text)
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// testLog shows what was logged when the test fails.
func testLog(t *testing.T) *slog.Logger {
	j := new(journal)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(j.text.String())
		}
	})
	return j.log()
}
