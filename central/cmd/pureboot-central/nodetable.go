package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func nodeExportCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the nodes as CSV to the standard output",
		Long:  "An apostrophe goes before what a spreadsheet would take for a formula; import takes it off again.",
		Args:  cobra.NoArgs,
	}
	site := cmd.Flags().String("site", "", "only the nodes whose home is this site or one below it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		query := url.Values{}
		if *site != "" {
			id, err := c.site(cmd.Context(), *site)
			if err != nil {
				return err
			}
			query = url.Values{"home_site_id": {id.String()}, "descendants": {"true"}}
		}
		res, err := c.do(cmd.Context(), "GET", wire.PathNodes+"/export?"+query.Encode(), nil, http.Header{})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.Copy(cmd.OutOrStdout(), res.Body)
		return err
	}
	return cmd
}

func nodeImportCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make and change nodes by a CSV file (- for the standard input), all of them or none",
		Long: "The first line names the columns, as export writes them; mac_address is needed. A row changes the node with its MAC\n" +
			"address, else it makes one. A column that is left out stays, an empty cell clears. At most 5000 rows.",
		Args: cobra.ExactArgs(1),
	}
	dry := cmd.Flags().Bool("dry-run", false, "find all faults and write nothing")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "-" && tokenFromInput(cmd) {
			return errors.New("the standard input cannot be both the table and the token")
		}
		table := cmd.InOrStdin()
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			table = file
		}
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		path := wire.PathNodes + "/import"
		would := ""
		if *dry {
			path, would = path+"?dry_run=true", "would be "
		}
		res, err := c.do(cmd.Context(), "POST", path, io.NopCloser(table), http.Header{"Content-Type": {"text/csv"}})
		if err != nil {
			return err
		}
		var done store.Imported
		if err := decode(res, &done); err != nil {
			return err
		}
		return cli.Print(cmd, *format, done, func() error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d nodes %smade, %d %schanged\n", done.Created, would, done.Updated, would)
			return err
		})
	}
	return cmd
}

func tokenFromInput(cmd *cobra.Command) bool { return cmd.Flag("token-file").Value.String() == "-" }
