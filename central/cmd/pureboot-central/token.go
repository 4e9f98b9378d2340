package main

import (
	"errors"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/cli"
)

const pathTokens = "/api/v1/tokens"

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Look after the admin tokens of a central that serves",
		Long:  "Tokens are for people and programs: a viewer reads, an operator acts on nodes and content, an admin does all.",
	}
	dial := remote(cmd)
	cmd.AddCommand(tokenCreateCommand(dial), tokenListCommand(dial), tokenRevokeCommand(dial))
	return cmd
}

// createdToken is the answer to the making of a token.
type createdToken struct {
	store.Token
	Text string `json:"token"`
}

func tokenCreateCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token, which is shown this once or written to a file",
		Example: "  pureboot-central token create ci --role operator --expires-in 720h --save ci.token\n" +
			"  pureboot-central token create dashboard --role viewer",
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	role := flags.String("role", string(store.Viewer), "viewer, operator or admin")
	cli.Offer(cmd, "role", store.Viewer, store.Operator, store.Admin)
	life := flags.Duration("expires-in", 0, "how long it is good for, as 720h; 0 for good")
	save := flags.String("save", "", "file to write the token to, readable by its owner alone")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec := store.TokenSpec{Name: args[0], Role: store.Role(*role)}
		if *life < 0 {
			return errors.New("--expires-in: want a time to come")
		} else if *life > 0 {
			end := time.Now().Add(*life).UTC().Truncate(time.Second)
			spec.ExpiresAt = &end
		}
		file := tokenFile{flag: "--save", name: *save, kind: adminToken}
		if err := file.free(); err != nil { // before there is a token to lose
			return err
		}
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		var made createdToken
		if err := c.call(cmd.Context(), "POST", pathTokens, spec, &made); err != nil {
			return err
		}
		if err := file.keep(made.Text); err != nil {
			// Nobody has its text, so it shall open nothing.
			return errors.Join(err, c.call(cmd.Context(), "DELETE", pathTokens+"/"+made.ID, nil, nil))
		}
		if *save != "" {
			made.Text = ""
		}
		return cli.Print(cmd, *format, made, func() error {
			if *save != "" {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "token %s of the role %s is in %s\n", made.ID, made.Role, *save)
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Token %s of the role %s, which is kept nowhere and not shown again:\n", made.ID, made.Role)
			_, err := fmt.Fprintln(cmd.OutOrStdout(), made.Text)
			return err
		})
	}
	return cmd
}

func tokenListCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the tokens, those that open nothing any more among them",
		Args:  cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		tokens, err := list[store.Token](cmd.Context(), c, pathTokens, nil)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, tokens, func() error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "ID\tNAME\tROLE\tCREATED BY\tLAST USED\tENDS")
			for _, t := range tokens {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.Role, t.CreatedBy, moment(t.LastUsedAt), end(t))
			}
			return table.Flush()
		})
	}
	return cmd
}

// moment writes a time that may not have come.
func moment(at *time.Time) string {
	if at == nil {
		return "never"
	}
	return at.Format(time.RFC3339)
}

// end says when a token opens nothing any more, or since when.
func end(t store.Token) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked " + moment(t.RevokedAt)
	case t.ExpiresAt != nil && time.Now().After(*t.ExpiresAt):
		return "expired " + moment(t.ExpiresAt)
	}
	return moment(t.ExpiresAt)
}

func tokenRevokeCommand(dial dialer) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID...",
		Short: "Make tokens open nothing any more, for good",
		Long:  "The ID is what stands between pbt_ and the next _ of a token's text, and what ls lists.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := dial(cmd)
			if err != nil {
				return err
			}
			var errs []error
			for _, id := range args {
				if err := c.call(cmd.Context(), "DELETE", pathTokens+"/"+url.PathEscape(id), nil, nil); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", id, err))
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "token %s is revoked\n", id)
			}
			return errors.Join(errs...)
		},
	}
}
