package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve administrators and agents",
		Args:  cobra.NoArgs,
	}
	flags := cmd.Flags()
	listen := flags.String("listen", "", "address of HTTPS, in place of listen in the configuration")
	readyFD := flags.Int("ready-fd", -1, "file descriptor to write the bound addresses to, as a line of JSON, once serving")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		collectLess()
		cfg, err := config(cmd)
		if err != nil {
			return err
		}
		if *listen != "" {
			cfg.Listen = *listen
		}
		options := central.Options{Config: cfg, Version: version, Log: logger()}
		if *readyFD >= 0 {
			options.Ready = func(addresses map[string]string) error { return tell(*readyFD, addresses) }
		}
		c, err := central.New(cmd.Context(), options)
		if err != nil {
			return err
		}
		return c.Run(cmd.Context())
	}
	return cmd
}

// collectLess has the collector wait until there is five times what is in use, unless the environment says when. Central
// uses some tens of megabytes; where they were collected at each doubling, one request of a hundred for a node took
// 33 ms in place of 5.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// tell writes a line of JSON to a file descriptor that whoever started us had opened, and closes it.
func tell(fd int, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "ready-fd")
	if f == nil {
		return fmt.Errorf("--ready-fd %d: not a file descriptor", fd)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("--ready-fd %d: %w", fd, err)
	}
	return nil
}
