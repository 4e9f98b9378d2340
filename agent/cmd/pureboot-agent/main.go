// Command pureboot-agent is the appliance of one site.
package main

import (
	"os"

	"github.com/pureboot/pureboot/cli"
)

func main() { os.Exit(cli.Main(root())) }
