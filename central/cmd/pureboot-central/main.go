// Command pureboot-central is the single source of truth of all sites.
package main

import (
	"os"

	"github.com/pureboot/pureboot/cli"
)

func main() { os.Exit(cli.Main(root())) }
