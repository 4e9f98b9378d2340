package main

import "github.com/spf13/cobra"

// offer has the shell complete a flag with its values.
func offer[T ~string](cmd *cobra.Command, flag string, values ...T) {
	choices := make([]string, len(values))
	for i, v := range values {
		choices[i] = string(v)
	}
	// The error is that there is no such flag, or that it has values already.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// eitherWay are the fields that a list can be sorted by, and the same the other way round.
func eitherWay[T ~string](fields ...T) (orders []string) {
	for _, field := range fields {
		orders = append(orders, string(field), "-"+string(field))
	}
	return orders
}
