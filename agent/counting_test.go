package agent

import (
	"bufio"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func goVersion() string { return runtime.Version() }

// scrape reads the metrics, by name and labels as they are written.
func scrape(t *testing.T, client *http.Client) map[string]float64 {
	t.Helper()
	res, err := client.Get("http://agent/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		if all[line[:i]], err = strconv.ParseFloat(line[i+1:], 64); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	return all
}
