package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "?", 0: "0 B", 999: "999 B", 1000: "1.0 kB", 1234: "1.2 kB", 99_949: "99.9 kB", 99_960: "100 kB", 999_600: "1.0 MB",
		50e9: "50.0 GB", 123456e9: "123 TB", 5e18: "5000 PB",
	} {
		if got := Size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestAnAnswerIsForPeopleOrForPrograms(t *testing.T) {
	for _, c := range []struct{ flags, want string }{
		{"", "two"}, {"-o text", "two"}, {"-o json", "{\n  \"n\": 2\n}\n"}, {"--output=json", "{\n  \"n\": 2\n}\n"}, {"-o xml", ""}, {"-o", ""},
	} {
		var out strings.Builder
		done := false
		cmd := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
		format := Output(cmd)
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			done = true
			return Print(cmd, *format, map[string]int{"n": 2}, func() error {
				_, err := cmd.OutOrStdout().Write([]byte("two"))
				return err
			})
		}
		cmd.SetOut(&out)
		cmd.SetArgs(strings.Fields(c.flags))
		if err := cmd.Execute(); (err == nil) != (c.want != "") || done != (err == nil) || out.String() != c.want {
			t.Errorf("%q: %q, done is %v, %v", c.flags, out.String(), done, err)
		}
	}
}

func TestWhatIsNotUnderstoodFails(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"above", ""},
		{"above below x", ""},
		{"above belo", "unknown command \"belo\" for \"p above\"\nsee p above --help"},
		{"above below", "accepts 1 arg(s), received 0\nusage: p above below X"},
		{"above below x --nothing", "unknown flag: --nothing\nsee p above below --help"},
		{"nobody", "unknown command \"nobody\" for \"p\""},
	} {
		root := &cobra.Command{Use: "p", SilenceErrors: true, SilenceUsage: true}
		above := &cobra.Command{Use: "above"}
		above.AddCommand(&cobra.Command{Use: "below X", Args: cobra.ExactArgs(1), DisableFlagsInUseLine: true, RunE: func(*cobra.Command, []string) error { return nil }})
		root.AddCommand(above)
		Strict(root)
		root.SetOut(new(strings.Builder))
		root.SetArgs(strings.Fields(c.args))
		if err := root.Execute(); err == nil != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%q: %v, want %v", c.args, err, errors.New(c.want))
		}
	}
}
