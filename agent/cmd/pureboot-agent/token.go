package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/cli"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Look after the tokens that open the running agent's API over HTTPS",
		Long: "Whoever is on this machine needs none: the commands here use the agent's socket. Over HTTPS (listen.https) a viewer\n" +
			"reads, and an admin does the rest. The agent keeps a hash of each token.",
	}
	cmd.AddCommand(tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
	return cmd
}

func tokenCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a token, which is shown this once or written to a file",
		Example: "  pureboot-agent token create dashboard --role viewer --expires-in 720h --save dashboard.token",
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	role := flags.String("role", admin.Viewer, "viewer or admin")
	cli.Offer(cmd, "role", admin.Viewer, admin.Admin)
	life := flags.Duration("expires-in", 0, "how long it is good for, as 720h; 0 for good")
	save := flags.String("save", "", "file to write the token to, which must not exist yet; readable by its owner alone")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ask := admin.NewToken{Name: args[0], Role: *role}
		if *life < 0 {
			return errors.New("--expires-in: want a time to come")
		} else if *life > 0 {
			end := time.Now().Add(*life).UTC().Truncate(time.Second)
			ask.ExpiresAt = &end
		}
		var file *os.File
		if *save != "" {
			var err error // before there is a token to lose
			if file, err = os.OpenFile(*save, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
				return fmt.Errorf("--save: %w", err)
			}
			defer file.Close()
		}
		var made admin.MadeToken
		if err := call(cmd, http.MethodPost, admin.PathTokens, nil, ask, &made); err != nil {
			if file != nil {
				err = errors.Join(err, os.Remove(*save))
			}
			return err
		}
		if file != nil {
			_, err := fmt.Fprintln(file, made.Text)
			if err = errors.Join(err, file.Sync()); err != nil {
				// Nobody has its text, so it shall open nothing.
				return errors.Join(fmt.Errorf("--save: %w", err), revoke(cmd, made.ID))
			}
			made.Text = ""
		}
		return cli.Print(cmd, *format, made, func() error {
			if file != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "token %s of the role %s is in %s\n", made.ID, made.Role, *save)
				return nil
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Token %s of the role %s, which is kept nowhere and not shown again:\n", made.ID, made.Role)
			fmt.Fprintln(cmd.OutOrStdout(), made.Text)
			return nil
		})
	}
	return cmd
}

func tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the tokens",
		Args:    cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var all struct {
			Items []admin.Token `json:"items"`
		}
		if err := call(cmd, http.MethodGet, admin.PathTokens, nil, nil, &all); err != nil {
			return err
		}
		return cli.Print(cmd, *format, all.Items, func() error {
			tabled(cmd, "id\tname\trole\tmade\tends", func(row func(format string, args ...any)) {
				for _, t := range all.Items {
					ends := "never"
					if t.ExpiresAt != nil {
						ends = t.ExpiresAt.Format(time.RFC3339)
					}
					row("%s\t%s\t%s\t%s\t%s", t.ID, t.Name, t.Role, t.CreatedAt.Format(time.RFC3339), ends)
				}
			})
			return nil
		})
	}
	return cmd
}

func tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke ID...",
		Short: "Make tokens open nothing any more",
		Long:  "The ID is what stands between pbl_ and the next _ of a token's text, and what list shows.",
		Args:  cobra.MinimumNArgs(1),
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var errs []error
		done := struct {
			Revoked []string `json:"revoked"`
		}{[]string{}}
		for _, id := range args {
			if err := revoke(cmd, id); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", id, err))
				continue
			}
			done.Revoked = append(done.Revoked, id)
		}
		errs = append(errs, cli.Print(cmd, *format, done, func() error {
			for _, id := range done.Revoked {
				fmt.Fprintf(cmd.OutOrStdout(), "token %s is revoked\n", id)
			}
			return nil
		}))
		return errors.Join(errs...)
	}
	return cmd
}

func revoke(cmd *cobra.Command, id string) error {
	var none struct{}
	return call(cmd, http.MethodDelete, admin.PathTokens+"/"+url.PathEscape(id), nil, nil, &none)
}
