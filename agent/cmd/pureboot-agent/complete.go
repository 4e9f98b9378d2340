package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
)

// names tells the shell what can stand at an argument that begins so. Nothing, if the agent cannot be asked.
type names func(cmd *cobra.Command, begin string) ([]string, error)

// complete has the shell complete arguments, the first so many of them.
func (n names) complete(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := n(cmd, begin)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// machines are the MAC addresses of the nodes that the agent knows.
func machines(cmd *cobra.Command, _ string) (macs []string, err error) {
	var known admin.Nodes
	err = call(cmd, http.MethodGet, admin.PathNodes, nil, nil, &known)
	for _, n := range known.Items {
		macs = append(macs, n.MACAddress)
	}
	return macs, err
}

// offered is how many objects a shell is told of at most.
const offered = "200"

// objects are those of the cache whose keys or URLs begin so.
func objects(cmd *cobra.Command, begin string) (keys []string, err error) {
	var page admin.Entries
	err = call(cmd, http.MethodGet, admin.PathEntries, url.Values{"prefix": {begin}, "limit": {offered}}, nil, &page)
	for _, e := range page.Items {
		if e.URL != "" {
			keys = append(keys, e.URL)
		} else {
			keys = append(keys, e.Key)
		}
	}
	return keys, err
}
