package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Format is how an answer is written.
type Format string

// The formats.
const (
	Text Format = "text" // for people
	JSON Format = "json"
)

// Set implements pflag.Value: what is no format is refused before anything is done.
func (f *Format) Set(value string) error {
	if v := Format(value); v != Text && v != JSON {
		return errors.New("want text or json")
	}
	*f = Format(value)
	return nil
}

// String implements pflag.Value.
func (f *Format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *Format) Type() string { return "string" }

// Output adds -o to a command.
func Output(cmd *cobra.Command) *Format {
	f := Text
	cmd.Flags().VarP(&f, "output", "o", "text or json")
	Offer(cmd, "output", Text, JSON)
	return &f
}

// Print writes v as JSON if that was asked for, else as text does.
func Print(cmd *cobra.Command, as Format, v any, text func() error) error {
	if as == JSON {
		out := json.NewEncoder(cmd.OutOrStdout())
		out.SetIndent("", "  ")
		return out.Encode(v)
	}
	return text()
}

// Size is a number of bytes for people; a negative one is not known.
func Size(bytes int64) string {
	if bytes < 0 {
		return "?"
	}
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	n, unit := float64(bytes), 0
	for n >= 999.5 && unit < len(units)-1 {
		n, unit = n/1000, unit+1
	}
	if unit == 0 || n >= 99.95 {
		return fmt.Sprintf("%.0f %s", n, units[unit])
	}
	return fmt.Sprintf("%.1f %s", n, units[unit])
}
