package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
)

// Bounds of a table that is imported, which is one transaction.
const (
	maxTable  = 8 << 20 // bytes
	maxRows   = 5000
	maxFaults = 1000 // that are told
)

// nodeColumns are the columns of a table of nodes that can be written, in their order; id and state come with them.
// An order for one boot can be given by a table, but is not exported: an old table that comes in again would else have
// machines installed again.
var nodeColumns = []struct {
	name string
	get  func(*wire.Node) any // a string, or what goes as JSON; nil for what is not exported
	set  func(*store.NodeSpec, string) error
}{
	{"mac_address", func(n *wire.Node) any { return n.MACAddress }, text(func(s *store.NodeSpec) *string { return &s.MACAddress })},
	{"interfaces", func(n *wire.Node) any { return n.Interfaces }, nested(func(s *store.NodeSpec) *[]wire.Interface { return &s.Interfaces })},
	{"hostname", func(n *wire.Node) any { return n.Hostname }, text(func(s *store.NodeSpec) *string { return &s.Hostname })},
	{"ip_address", func(n *wire.Node) any { return n.IPAddress }, text(func(s *store.NodeSpec) *string { return &s.IPAddress })},
	{"workflow_id", func(n *wire.Node) any { return n.WorkflowID }, reference(func(s *store.NodeSpec) **uuid.UUID { return &s.WorkflowID })},
	{"group_id", func(n *wire.Node) any { return n.GroupID }, reference(func(s *store.NodeSpec) **uuid.UUID { return &s.GroupID })},
	{"home_site_id", func(n *wire.Node) any { return n.HomeSiteID }, reference(func(s *store.NodeSpec) **uuid.UUID { return &s.HomeSiteID })},
	{"arch", func(n *wire.Node) any { return n.Arch }, choice(func(s *store.NodeSpec) *string { return &s.Arch }, "x86_64", "arm64")},
	{"boot_mode", func(n *wire.Node) any { return n.BootMode }, choice(func(s *store.NodeSpec) *string { return &s.BootMode }, "bios", "uefi")},
	{"vendor", func(n *wire.Node) any { return n.Vendor }, text(func(s *store.NodeSpec) *string { return &s.Vendor })},
	{"model", func(n *wire.Node) any { return n.Model }, text(func(s *store.NodeSpec) *string { return &s.Model })},
	{"serial_number", func(n *wire.Node) any { return n.SerialNumber }, text(func(s *store.NodeSpec) *string { return &s.SerialNumber })},
	{"system_uuid", func(n *wire.Node) any { return n.SystemUUID }, text(func(s *store.NodeSpec) *string { return &s.SystemUUID })},
	{"extra_cmdline", func(n *wire.Node) any { return n.ExtraCmdline }, text(func(s *store.NodeSpec) *string { return &s.ExtraCmdline })},
	{"next_boot", nil, text(func(s *store.NodeSpec) *string { return &s.NextBoot })},
	{"tags", func(n *wire.Node) any { return n.Tags }, nested(func(s *store.NodeSpec) *[]string { return &s.Tags })},
	{"params", func(n *wire.Node) any { return n.Params }, nested(func(s *store.NodeSpec) *map[string]string { return &s.Params })},
}

func text(field func(*store.NodeSpec) *string) func(*store.NodeSpec, string) error {
	return func(s *store.NodeSpec, cell string) error { *field(s) = cell; return nil }
}

func choice(field func(*store.NodeSpec) *string, among ...string) func(*store.NodeSpec, string) error {
	return func(s *store.NodeSpec, cell string) error {
		if cell != "" && !slices.Contains(among, cell) {
			return fmt.Errorf("want one of %s, or nothing", strings.Join(among, ", "))
		}
		*field(s) = cell
		return nil
	}
}

func reference(field func(*store.NodeSpec) **uuid.UUID) func(*store.NodeSpec, string) error {
	return func(s *store.NodeSpec, cell string) error {
		*field(s) = nil
		if cell == "" {
			return nil
		}
		id, err := uuid.Parse(cell)
		if err != nil {
			return errors.New("not a UUID")
		}
		*field(s) = &id
		return nil
	}
}

func nested[T any](field func(*store.NodeSpec) *T) func(*store.NodeSpec, string) error {
	return func(s *store.NodeSpec, cell string) error {
		var value T
		if cell != "" {
			strict := json.NewDecoder(strings.NewReader(cell))
			strict.DisallowUnknownFields()
			if err := strict.Decode(&value); err != nil || strict.More() {
				return errors.New("want JSON, as an export has it")
			}
		}
		*field(s) = value
		return nil
	}
}

// guarded keeps a spreadsheet from taking a cell for a formula: an apostrophe goes before what may begin one, and
// before an apostrophe, so that unguarded finds what was there.
func guarded(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n'", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func unguarded(cell string) string { return strings.TrimPrefix(cell, "'") }

// nodeTableRoutes take nodes out as CSV (RFC 4180) and in again.
func (a *api) nodeTableRoutes() {
	tags := []string{"nodes"}
	route(a, huma.Operation{
		OperationID: "export-nodes", Method: "GET", Path: "/api/v1/nodes/export", Summary: "List nodes as CSV", Tags: tags,
		Description: "An apostrophe goes before what a spreadsheet would take for a formula. Interfaces, tags and params are JSON. Orders for one boot, next_boot, are not in it.",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
	}, access{least: store.Viewer}, a.exportNodes)
	route(a, huma.Operation{
		OperationID: "import-nodes", Method: "POST", Path: "/api/v1/nodes/import", DefaultStatus: http.StatusOK, Tags: tags,
		Summary: "Make and change nodes by a table, all or none", MaxBodyBytes: maxTable,
		Description: "CSV with a line of column names, as the export has it, of at most 5000 rows. A row changes the node that has its mac_address, " +
			"else it makes one. A column that is left out stays, an empty cell clears. A node that is made is pending if state says so, else discovered; the states of others and all ids stay as they are. The column next_boot orders a boot.",
	}, access{least: store.Operator}, func(ctx context.Context, in *struct {
		DryRun  bool   `query:"dry_run" doc:"Find all faults and write nothing"`
		RawBody []byte `contentType:"text/csv"`
	},
	) (*answer[store.Imported], error) {
		rows, err := readNodes(in.RawBody)
		if err != nil {
			return nil, err
		}
		done, err := a.Store.ImportNodes(ctx, caller(ctx).Actor, rows, in.DryRun)
		return &answer[store.Imported]{done}, err
	})
}

// exportNodes reads a page at a time: what is written meanwhile may or may not be in it.
func (a *api) exportNodes(ctx context.Context, in *NodeFilter) (*huma.StreamResponse, error) {
	query := in.store(store.Paging{Limit: store.MaxLimit})
	page, err := a.Store.Nodes(ctx, query)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "text/csv; charset=utf-8; header=present")
		hctx.SetHeader("Content-Disposition", `attachment; filename="nodes.csv"`)
		_, w := humago.Unwrap(hctx)
		deadline, table := http.NewResponseController(w), csv.NewWriter(hctx.BodyWriter())
		header := []string{"id", "state"}
		for _, column := range nodeColumns {
			if column.get != nil {
				header = append(header, column.name)
			}
		}
		err := table.Write(header)
		for err == nil {
			_ = deadline.SetWriteDeadline(time.Now().Add(stall)) // where deadlines are not supported there are none to renew
			if err = writeNodes(table, page.Items); err != nil || page.NextCursor == "" {
				break
			}
			query.Cursor = page.NextCursor
			page, err = a.Store.Nodes(ctx, query)
		}
		if err != nil {
			a.Log.Warn("export broke off", "err", err, "request", wire.RequestID(ctx))
			panic(http.ErrAbortHandler) // else half a table looks whole
		}
	}}, nil
}

func writeNodes(table *csv.Writer, nodes []wire.Node) error {
	for i := range nodes {
		row := []string{nodes[i].ID, nodes[i].State}
		for _, column := range nodeColumns {
			if column.get == nil {
				continue
			}
			cell, isText := column.get(&nodes[i]).(string)
			if !isText {
				value, err := json.Marshal(column.get(&nodes[i]))
				if err != nil {
					return err
				}
				cell = string(value)
			}
			row = append(row, guarded(cell))
		}
		if err := table.Write(row); err != nil {
			return err
		}
	}
	table.Flush()
	return table.Error()
}

// readNodes reads a table, and names all that is wrong with it by line.
func readNodes(body []byte) ([]store.NodeRow, error) {
	table := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff")))) // spreadsheets begin with it
	table.ReuseRecord = true
	bad := &store.Invalid{}
	add := func(line int, field, format string, args ...any) {
		bad.Fields = append(bad.Fields, wire.ProblemField{Location: fmt.Sprintf("body.lines[%d]%s", line, field), Message: fmt.Sprintf(format, args...)})
	}
	header, err := table.Read()
	if err != nil {
		add(1, "", "want a line with the names of the columns")
		return nil, bad
	}
	header = slices.Clone(header)
	sets := make([]func(*store.NodeSpec, string) error, len(header))
	for i, name := range header {
		for _, column := range nodeColumns {
			if column.name == name {
				sets[i] = column.set
			}
		}
		if sets[i] == nil && name != "id" && name != "state" {
			add(1, "", "there is no column %.100q", name)
		} else if slices.Contains(header[:i], name) {
			add(1, "", "the column %s is there twice", name)
		}
	}
	primary, state := slices.Index(header, "mac_address"), slices.Index(header, "state")
	if primary < 0 {
		add(1, "", "the column mac_address is missing")
	}
	if len(bad.Fields) > 0 {
		return nil, bad
	}

	var rows []store.NodeRow
	lines := map[string]int{}
	for {
		record, err := table.Read()
		if err == io.EOF {
			break
		}
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			add(parse.Line, "", "%v", parse.Err)
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			break // where the next line begins is not known
		}
		line, _ := table.FieldPos(0)
		if len(bad.Fields) >= maxFaults {
			add(line, "", "and more")
			break
		}
		if len(rows) == maxRows {
			add(line, "", "more than %d rows", maxRows)
			break
		}
		cells := make([]string, len(record))
		var probe store.NodeSpec
		for i, cell := range record {
			cells[i] = unguarded(cell)
			if sets[i] != nil {
				if err := sets[i](&probe, cells[i]); err != nil {
					add(line, "."+header[i], "%v", err)
				}
			}
		}
		row := store.NodeRow{Line: line, Edit: func(n *store.NodeSpec) {
			for i, cell := range cells {
				if sets[i] != nil {
					_ = sets[i](n, cell) // which the probe has seen
				}
			}
		}}
		for _, f := range probe.Check() {
			add(line, strings.TrimPrefix(f.Location, "body"), "%s", f.Message)
		}
		row.MAC = probe.MACAddress
		if row.MAC == "" {
			continue // said by the check
		}
		if first, twice := lines[row.MAC]; twice {
			add(line, ".mac_address", "is on line %d already", first)
		} else {
			lines[row.MAC] = line
		}
		if state >= 0 && lifecycle.State(cells[state]) == lifecycle.Pending {
			row.State = lifecycle.Pending
		}
		rows = append(rows, row)
	}
	if len(bad.Fields) > 0 {
		return nil, bad
	}
	return rows, nil
}
