package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func siteTokenCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token SITE",
		Short: "Make a join token for the site's agent, which is shown this once or written to a file",
		Long: "The token is good for one enrolment, by pureboot-agent init, within 24 hours, and voids the one before it.\n" +
			"An agent that the site has goes on until another one was enrolled.",
		Args: cobra.ExactArgs(1),
	}
	save := cmd.Flags().String("save", "", "file to write the token to, readable by its owner alone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := tokenFile{flag: "--save", name: *save, kind: joinToken}
		if err := file.free(); err != nil { // before the one that is outstanding is void
			return err
		}
		return eachSite(cmd, dial, args, func(ctx context.Context, c *client, name string, id uuid.UUID) error {
			var token wire.JoinToken
			if err := c.call(ctx, "POST", pathSites+"/"+id.String()+"/agent-token", nil, &token); err != nil {
				return err
			}
			if *save == "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "Join token of site %s, good for one use until %s and not shown again:\n", name, moment(&token.ExpiresAt))
				_, err := fmt.Fprintln(cmd.OutOrStdout(), token.Token)
				return err
			}
			if err := file.keep(token.Token); err != nil {
				return errors.Join(err, errors.New("nobody has the token: make another one"))
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s: the join token is in %s, good for one use until %s\n", name, *save, moment(&token.ExpiresAt))
			return err
		})
	}
	return cmd
}

func siteRotateCommand(dial dialer) *cobra.Command {
	return credentialCommand(dial, "rotate", &cobra.Command{
		Use:   "rotate SITE...",
		Short: "Have the agents of sites make new credentials",
		Long: "Each is asked with its next heartbeat. The old credential is valid until the new one is used, within seconds of that.\n" +
			"Where two agents were found to have one credential, it is the end of the one that is refused.",
	}, "is asked for a new credential with its next heartbeat")
}

func siteRevokeCommand(dial dialer) *cobra.Command {
	return credentialCommand(dial, "revoke", &cobra.Command{
		Use:   "revoke SITE...",
		Short: "Refuse the agents of sites from now on, until they are enrolled again",
		Long:  "Such an agent goes on booting the machines that it knows. `site token` makes what it can be enrolled again with.",
	}, "is refused from now on")
}

func credentialCommand(dial dialer, what string, cmd *cobra.Command, done string) *cobra.Command {
	cmd.Args = cobra.MinimumNArgs(1)
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return eachSite(cmd, dial, args, func(ctx context.Context, c *client, name string, id uuid.UUID) error {
			var now store.Credential
			if err := c.call(ctx, "POST", pathSites+"/"+id.String()+"/agent-credential/"+what, nil, &now); err != nil {
				return err
			}
			return cli.Print(cmd, *format, now, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s: its agent %s\n", name, done)
				return err
			})
		})
	}
	return cmd
}
