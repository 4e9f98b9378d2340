package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// textFields are the fields whose value is text, whatever it looks like.
var textFields = []string{
	"name", "description", "parent_id", "agent_url", "default_workflow_id", "autonomy_level", "conflict_resolution", "cache_policy",
	"discovery_method", "migration_policy", "sync_schedule",
	"mac_address", "hostname", "ip_address", "workflow_id", "group_id", "home_site_id", "arch", "boot_mode", "vendor", "model",
	"serial_number", "system_uuid", "extra_cmdline", "state",
}

// parseFields makes a merge patch of FIELD=VALUE and of the fields to clear. FIELD may be MAP.NAME.
func parseFields(set, clear []string) (map[string]any, error) {
	fields := map[string]any{}
	put := func(field string, value any) {
		if m, name, ok := strings.Cut(field, "."); ok {
			below, _ := fields[m].(map[string]any)
			if below == nil {
				below = map[string]any{}
				fields[m] = below
			}
			below[name] = value
			return
		}
		fields[field] = value
	}
	for _, s := range set {
		field, text, ok := strings.Cut(s, "=")
		if !ok || field == "" {
			return nil, fmt.Errorf("%q: want FIELD=VALUE", s)
		}
		var value any = text
		if !slices.Contains(textFields, field) && !strings.Contains(field, ".") {
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				value = text // which central refuses by the field's name, if it is none
			}
		}
		put(field, value)
	}
	for _, field := range clear {
		put(field, nil)
	}
	return fields, nil
}

// patching is what commands that change fields have in common.
type patching struct {
	name    string    // of the flag that clears a field
	clear   *[]string // fields
	version *int64    // 0: whichever it is
}

// patches adds the flags of a command that changes fields; the one of this name clears fields.
func patches(cmd *cobra.Command, name, doc string) patching {
	flags := cmd.Flags()
	return patching{
		name: name, clear: flags.StringArray(name, nil, doc+"; may be repeated"),
		version: flags.Int64("if-version", 0, "change it only if this is its version, as show has it"),
	}
}

// fields makes a merge patch of the arguments.
func (p patching) fields(args []string) (map[string]any, error) {
	fields, err := parseFields(args, *p.clear)
	if err == nil && len(fields) == 0 {
		err = fmt.Errorf("nothing to change: name FIELD=VALUE or --%s FIELD", p.name)
	}
	return fields, err
}
