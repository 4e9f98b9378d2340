package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent"
)

func startCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Serve the machines of the site until told to stop",
		Args:  cobra.NoArgs,
	}
	fd := cmd.Flags().Int("ready-fd", -1, "file descriptor to write the bound addresses to, as one line of JSON, once serving")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		defer holdHeap()()
		cfg, err := config(cmd)
		if err != nil {
			return err
		}
		log := logger()
		if err := growDescriptors(); err != nil {
			log.Warn("the kernel's table of open files will grow while machines boot", "err", err)
		}
		a, err := agent.New(cmd.Context(), cfg, version, log)
		if err != nil {
			return err
		}
		var ready *os.File
		if *fd >= 0 {
			ready = os.NewFile(uintptr(*fd), "ready-fd")
		}
		return a.Run(cmd.Context(), ready)
	}
	return cmd
}
