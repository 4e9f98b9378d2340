package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent"
	"github.com/pureboot/pureboot/agent/uplink"
)

// initTime bounds an enrolment.
const initTime = time.Minute

func initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Enrol the agent with central",
		Long: "init makes this agent that of the site which the join token was made for. Central's CA is checked\n" +
			"against the token before anything is sent. An agent that is enrolled is left alone, unless --replace is given.\n" +
			"One that runs learns of its enrolment when it is started again.",
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	url := flags.String("central-url", "", "URL of central (default central_url of the configuration)")
	file := flags.String("token-file", "", "file that holds the join token, or - for standard input")
	replace := flags.Bool("replace", false, "enrol anew although the agent is enrolled")
	_ = cmd.MarkFlagRequired("token-file") // it fails only for a flag that is not there
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config(cmd)
		if err != nil {
			return err
		}
		if *url == "" {
			*url = cfg.CentralURL
		}
		if *url == "" {
			return errors.New("--central-url: missing, and so is central_url in the configuration")
		}
		known, err := uplink.LoadIdentity(cfg.StateDir())
		if err == nil && !*replace {
			return fmt.Errorf("already enrolled as site %s of %s: --replace enrols anew", known.SiteName, known.CentralURL)
		}
		if err != nil && !errors.Is(err, uplink.ErrNotEnrolled) && !*replace {
			return err
		}
		text, err := readToken(*file, cmd.InOrStdin())
		if err != nil {
			return err
		}
		token, err := uplink.ParseJoinToken(text)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), initTime)
		defer cancel()
		id, err := uplink.Enroll(ctx, uplink.Joining{
			State: cfg.StateDir(), CentralURL: *url, Token: token, Hello: agent.Hello(version),
			Names: cfg.HTTPSNames(), Clock: uplink.LoadClock(cfg.StateDir(), agent.Built(), logger()),
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "enrolled as site %s (%s) of %s\n", id.SiteName, id.SiteID, id.CentralURL)
		fmt.Fprintln(cmd.OutOrStdout(), "an agent that runs must be started again to work with this: systemctl restart pureboot-agent")
		return nil
	}
	return cmd
}

func readToken(file string, stdin io.Reader) (string, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read the join token: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return "", fmt.Errorf("read the join token: %w", err)
	}
	return string(text), nil
}
