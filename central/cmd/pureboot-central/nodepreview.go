package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

// preview is what both previews are answered with, as far as it is shown as text.
type preview struct {
	Script, Text  string
	Serves, State string
	Reason, Fault string
	Values        map[string]struct {
		Value string
		From  store.Origin
	}
}

func nodeBootScriptCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "boot-script NODE",
		Short: "Show the script that a node would boot by now",
		Long: "Why it is this one goes to the standard error. Tokens are placeholders, and so is the agent's address where the site has no agent_url.\n" +
			"It fails when something is wrong, so that the machine would be told what and boot its local disk.",
		Example: "  pureboot-central node boot-script web-1\n  pureboot-central node boot-script web-1 --values",
		Args:    cobra.ExactArgs(1),
	}
	loader := cmd.Flags().String("loader", "ipxe", "ipxe or grub")
	cli.Offer(cmd, "loader", "ipxe", "grub")
	values := cmd.Flags().Bool("values", false, "show each value and where it comes from instead")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, raw, err := fetchPreview(cmd, dial, args[0], "/boot-script?loader="+url.QueryEscape(*loader))
		if err != nil {
			return err
		}
		err = cli.Print(cmd, *format, raw, func() error {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s, as the node is %s: %s\n", p.Serves, p.State, p.Reason)
			return p.show(cmd.OutOrStdout(), p.Script, *values)
		})
		if err == nil && p.Fault != "" {
			err = fmt.Errorf("the machine would boot its local disk: %s", p.Fault)
		}
		return err
	}
	return cmd
}

func nodeRenderCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "render NODE PATH",
		Short:   "Show a template rendered for a node",
		Long:    "PATH is templates/NAME or scripts/NAME.",
		Example: "  pureboot-central node render web-1 templates/debian/preseed.cfg",
		Args:    cobra.ExactArgs(2),
	}
	values := cmd.Flags().Bool("values", false, "show each value that the template uses and where it comes from instead")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := (&url.URL{Path: strings.TrimPrefix(args[1], "/")}).EscapedPath()
		p, raw, err := fetchPreview(cmd, dial, args[0], "/render/"+path)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, raw, func() error { return p.show(cmd.OutOrStdout(), p.Text, *values) })
	}
	return cmd
}

// fetchPreview returns a preview of a node as it is shown, and as it came.
func fetchPreview(cmd *cobra.Command, dial dialer, name, path string) (p preview, raw json.RawMessage, err error) {
	c, err := dial(cmd)
	if err != nil {
		return p, nil, err
	}
	n, err := c.node(cmd.Context(), name)
	if err != nil {
		return p, nil, err
	}
	if err := c.call(cmd.Context(), "GET", wire.PathNodes+"/"+n.ID+path, nil, &raw); err != nil {
		return p, nil, err
	}
	return p, raw, json.Unmarshal(raw, &p)
}

// show writes the text, or the values and where each comes from as a table.
func (p *preview) show(out io.Writer, text string, values bool) error {
	if !values {
		_, err := io.WriteString(out, text)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tVALUE\tFROM")
	for _, name := range slices.Sorted(maps.Keys(p.Values)) {
		v := p.Values[name]
		fmt.Fprintf(table, "%s\t%s\t%s\n", name, orDash(v.Value), strings.TrimSpace(v.From.Kind+" "+v.From.Name))
	}
	return table.Flush()
}
