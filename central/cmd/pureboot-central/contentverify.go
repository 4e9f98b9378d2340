package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func contentVerifyCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [GLOB...]",
		Short: "Let central read files from its disk and compare them with their digests",
		Long:  "Damaged files are listed, and make the command fail. Uploading one again, with import --again, repairs it.",
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		files, err := c.selected(cmd.Context(), args...)
		if err != nil {
			return err
		}
		verdicts, err := verify(cmd, c, files)
		if err != nil {
			return err
		}
		damaged := slices.DeleteFunc(slices.Clone(verdicts), func(v content.Verdict) bool { return v.Whole })
		err = cli.Print(cmd, *format, verdicts, func() error {
			for _, v := range damaged {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", nameOf(v.File), v.Fault)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d files, %d of them damaged\n", len(verdicts), len(damaged))
			return err
		})
		if err == nil && len(damaged) > 0 {
			err = fmt.Errorf("%d files are damaged", len(damaged))
		}
		return err
	}
	return cmd
}

// verify asks for two files at a time: more would only make central's disk seek.
func verify(cmd *cobra.Command, c *client, files []wire.File) ([]content.Verdict, error) {
	var total int64
	for _, f := range files {
		total += f.Size
	}
	bar := newProgress(cmd.ErrOrStderr(), total)
	defer bar.end()
	verdicts := make([]content.Verdict, len(files))
	group, ctx := errgroup.WithContext(cmd.Context())
	group.SetLimit(2)
	for i, f := range files {
		group.Go(func() error {
			if err := c.call(ctx, "POST", pathOf(f)+"/verify", nil, &verdicts[i]); err != nil {
				return fmt.Errorf("%s: %w", nameOf(f), err)
			}
			bar.add(f.Size)
			return nil
		})
	}
	return verdicts, group.Wait()
}
