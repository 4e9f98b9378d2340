package api

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// TestATableHoldsWhatWasWrittenIntoIt also holds that no cell begins a formula.
func TestATableHoldsWhatWasWrittenIntoIt(t *testing.T) {
	line := rapid.StringOfN(rapid.RuneFrom([]rune(`=+-@'",;|\ aZ0(é`)), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		n := wire.Node{
			MACAddress: fmt.Sprintf("52:54:00:00:00:%02x", rapid.Byte().Draw(t, "mac")),
			Vendor:     line.Draw(t, "vendor"), Model: line.Draw(t, "model"), SerialNumber: line.Draw(t, "serial"), ExtraCmdline: line.Draw(t, "cmdline"),
			Arch:   rapid.SampledFrom([]string{"", "x86_64", "arm64"}).Draw(t, "arch"),
			Tags:   rapid.SliceOfNDistinct(line.Filter(func(s string) bool { return s != "" }), 0, 3, rapid.ID).Draw(t, "tags"),
			Params: rapid.MapOfN(rapid.StringMatching(`[A-Za-z0-9_.-]{1,5}`), line, 0, 3).Draw(t, "params"),
		}
		n.Interfaces = []wire.Interface{{MACAddress: n.MACAddress, Name: line.Draw(t, "card")}}
		var text bytes.Buffer
		table := csv.NewWriter(&text)
		header := []string{"id", "state"}
		for _, column := range nodeColumns {
			if column.get != nil {
				header = append(header, column.name)
			}
		}
		if err := table.Write(header); err != nil {
			t.Fatal(err)
		}
		if err := writeNodes(table, []wire.Node{n}); err != nil {
			t.Fatal(err)
		}
		cells, err := csv.NewReader(bytes.NewReader(text.Bytes())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, cell := range cells[1] {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
				t.Fatalf("a cell begins a formula: %s", cell)
			}
		}
		rows, err := readNodes(text.Bytes())
		if err != nil || len(rows) != 1 {
			t.Fatalf("%v in %s", err, text.String())
		}
		var back store.NodeSpec
		rows[0].Edit(&back)
		if rows[0].MAC != n.MACAddress || back.Vendor != n.Vendor || back.Model != n.Model || back.SerialNumber != n.SerialNumber || back.Arch != n.Arch ||
			back.ExtraCmdline != n.ExtraCmdline || !slices.Equal(back.Tags, n.Tags) || !maps.Equal(back.Params, n.Params) || !slices.Equal(back.Interfaces, n.Interfaces) {
			t.Fatalf("wrote %+v\nread %+v", n, back)
		}
	})
}

func TestNodesAreTakenOutAndIn(t *testing.T) { onBoth(t, testNodesAreTakenOutAndIn) }

func testNodesAreTakenOutAndIn(t *testing.T, c *central) {
	const export, table = "/api/v1/nodes/export", "/api/v1/nodes/import"
	site := c.site("berlin")
	for i := range 3 {
		must[wire.Node](c, 201, "POST", "/api/v1/nodes", c.operator, object{
			"mac_address": fmt.Sprintf("52:54:00:00:00:%02x", i), "hostname": fmt.Sprintf("web%d", i), "vendor": "=1+1", "state": "pending",
			"home_site_id": site.ID, "tags": []string{"a,b", "'x"}, "params": object{"disk": "/dev/vda"},
		})
	}
	first := c.do("GET", export+"?search=web", c.viewer, nil)
	if got := first.header.Get("Content-Type"); first.status != 200 || !strings.HasPrefix(got, "text/csv") || strings.Count(string(first.body), "'=1+1") != 3 {
		t.Fatalf("%d %s %s", first.status, got, first.body)
	}
	for _, n := range must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/nodes?", c.viewer, nil).Items {
		c.do("DELETE", "/api/v1/nodes/"+n.ID, c.operator, nil)
	}
	if got := must[store.Imported](c, 200, "POST", table+"?dry_run=true", c.operator, first.body); got.Created != 3 {
		t.Errorf("would be made: %+v", got)
	}
	if got := must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/nodes", c.viewer, nil); got.Total != 0 {
		t.Errorf("a dry run made %d", got.Total)
	}
	if got := must[store.Imported](c, 200, "POST", table, c.operator, first.body); got != (store.Imported{Created: 3}) {
		t.Errorf("made: %+v", got)
	}
	withoutID := func(text []byte) (rows [][]string) {
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			rows[i] = rows[i][1:]
		}
		return rows
	}
	second := c.do("GET", export, c.viewer, nil)
	if before, after := fmt.Sprint(withoutID(first.body)), fmt.Sprint(withoutID(second.body)); before != after {
		t.Errorf("out\n%s\nand after in again\n%s", before, after)
	}

	change := "\ufeffhostname,mac_address,tags\r\ndb0,525400000000,\r\nnew,52:54:00:00:00:09,\"[\"\"n\"\"]\"\r\n"
	if got := must[store.Imported](c, 200, "POST", table, c.operator, change); got != (store.Imported{Created: 1, Updated: 1}) {
		t.Errorf("changed: %+v", got)
	}
	n := must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/nodes?mac=525400000000", c.viewer, nil).Items[0]
	if n.Hostname != "db0" || len(n.Tags) != 0 || n.Vendor != "=1+1" || n.State != "pending" || n.HomeSiteID != site.ID.String() {
		t.Errorf("changed: %+v", n)
	}
	if made, changed := len(c.audited("node.create")), len(c.audited("node.update")); made != 7 || changed != 1 {
		t.Errorf("audited: %d made, %d changed", made, changed)
	}

	for text, want := range map[string]string{
		"":                                    "",
		"hostname,colour,hostname\na,b,c\n":   "body.lines[1]",
		"mac_address\n52:54:00:00:00:0a\nx\n": "body.lines[3].mac_address",
		"mac_address,hostname,arch,params,group_id\n52:54:00:00:00:0a,a b,,,\n\n52:54:00:00:00:0b,ok,z80,[1],rack\n52540000000a,,,,\nx,y\n":                                       "body.lines[2].hostname body.lines[4].arch body.lines[4].params body.lines[4].group_id body.lines[5].mac_address body.lines[6]",
		"mac_address,interfaces,workflow_id\n52:54:00:00:00:0a,\"[{\"\"mac_address\"\":\"\"52:54:00:00:00:01\"\"}]\",\n52:54:00:00:00:0b,,7c9e6679-7425-40de-944b-e07fc1f90ae7\n": "body.lines[2].interfaces body.lines[3].workflow_id",
		"mac_address,hostname\n52:54:00:00:00:0a,\"a\nb\"\n52:54:00:00:00:0b,\"'; DROP TABLE nodes; --\"\n":                                                                       "body.lines[2].hostname body.lines[4].hostname",
		"mac_address,tags\n52:54:00:00:00:0a,\"unfinished\n":                                                                                                                      "body.lines[2]",
	} {
		r := c.do("POST", table, c.operator, text)
		if r.status != 422 && !(text == "" && r.status == 400) {
			t.Errorf("%q: %d %s", text, r.status, r.body)
			continue
		}
		for field := range strings.FieldsSeq(want) {
			if !r.names(t, field) {
				t.Errorf("%q does not name %s: %s", text, field, r.body)
			}
		}
	}
	many := "mac_address\n" + strings.Repeat("52:54:00:00:00:0a\n", maxRows+1)
	if r := c.do("POST", table, c.operator, many); r.status != 422 || len(r.problem(t).Errors) > maxFaults+1 {
		t.Errorf("too many faults: %d with %d bytes", r.status, len(r.body))
	}
	if r := c.do("POST", table, c.operator, strings.Repeat("x", maxTable+1)); r.status != 413 {
		t.Errorf("too many bytes: %d", r.status)
	}
	if got := must[store.Page[wire.Node]](c, 200, "GET", "/api/v1/nodes", c.viewer, nil); got.Total != 4 {
		t.Errorf("what was refused left %d nodes", got.Total)
	}
}
