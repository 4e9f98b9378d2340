// Package cli is what the command lines of both programs have in common.
package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs a program and returns its exit code. The first signal to end ends the context, the second one the program.
func Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", root.Name(), err)
		return 1
	}
	return 0
}

// Strict has all commands of a program fail when they are given what they do not know, too much or too little, and say
// what they want.
func Strict(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.HasSubCommands() {
			only(c)
		}
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())
	})
	usage(root)
}

// only makes a command that is there for those below it fail when it is given what none of them is: left to itself cobra
// prints the help then and succeeds, and a script would go on.
func only(cmd *cobra.Command) {
	cmd.Args, cmd.DisableFlagsInUseLine = cobra.NoArgs, true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// usage has a command that is given too much or too little say what it wants.
func usage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err != nil && cmd.HasSubCommands() {
				err = fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())
			} else if err != nil {
				err = fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())
			}
			return err
		}
	}
	for _, below := range cmd.Commands() {
		usage(below)
	}
}

// Offer has the shell complete a flag with its values.
func Offer[T ~string](cmd *cobra.Command, flag string, values ...T) {
	choices := make([]string, len(values))
	for i, v := range values {
		choices[i] = string(v)
	}
	// The error is that there is no such flag, or that it has values already.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}
