package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central"
	"github.com/pureboot/pureboot/durable"
)

func initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Prepare the database, the CA and the first admin token",
		Long: "init makes what is missing: the database, the CA with a certificate for this central, and the first admin\n" +
			"token, which is printed this once or written to a file. What is there is left alone, so it may run again.",
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	file := flags.String("token-file", "", "file to write the admin token to, readable by its owner alone")
	another := flags.Bool("new-token", false, "make another admin token although there is one, as when that was lost")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config(cmd)
		if err != nil {
			return err
		}
		token := tokenFile{flag: "--token-file", name: *file, kind: adminToken}
		made, err := central.Init(cmd.Context(), central.InitOptions{
			Config: cfg, Log: logger(), NewToken: *another, Keep: token.keep,
		})
		switch {
		case err != nil:
			return errors.Join(err, token.undo())
		case !made:
			return token.explain(cmd)
		case *file != "":
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the admin token is in %s\n", *file)
		default:
			fmt.Fprintln(cmd.ErrOrStderr(), "The admin token, which is kept nowhere and not shown again:")
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token.text)
		}
		return err
	}
	return cmd
}

// What the text of a token begins with.
const (
	adminToken = "pbt_"
	joinToken  = "pbj1."
)

// tokenFile is where a new token goes: a file, or without a name our memory, to be printed.
type tokenFile struct {
	flag    string // that names it
	name    string
	kind    string // adminToken or joinToken
	text    string
	written bool
}

// keep stores the token. It replaces a file only if that holds a token of the kind too.
func (t *tokenFile) keep(text string) error {
	t.text = text
	if err := t.free(); err != nil || t.name == "" {
		return err
	}
	if err := durable.Replace(t.name, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("%s: %w", t.flag, err)
	}
	t.written = true
	return nil
}

// free says whether the file may be written: there is none, or one that holds a token of the kind too.
func (t *tokenFile) free() error {
	if t.name == "" {
		return nil
	}
	switch old, err := os.ReadFile(t.name); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", t.flag, err)
	case err == nil && !bytes.HasPrefix(old, []byte(t.kind)):
		return fmt.Errorf("%s: %s exists and holds nothing that begins with %s: name another file", t.flag, t.name, t.kind)
	}
	return nil
}

// undo takes back a file whose token did not become valid.
func (t *tokenFile) undo() error {
	if !t.written {
		return nil
	}
	return os.Remove(t.name)
}

// explain says why there is no new token.
func (t *tokenFile) explain(cmd *cobra.Command) error {
	const exists = "an admin token exists already"
	if t.name == "" {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s; init --new-token makes another, should it be lost\n", exists)
		return err
	}
	switch _, err := os.Stat(t.name); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s, but %s does not: put that token there, or make another with init --new-token --token-file %s",
			exists, t.name, t.name)
	case err != nil:
		return fmt.Errorf("--token-file: %w", err)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s; %s is left alone\n", exists, t.name)
	return err
}
