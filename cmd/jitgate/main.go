// Command jitgate asks for, shows and ends just-in-time access to Azure VMs. All of
// it is in internal/cli; this is the door.
package main

import (
	"os"

	"jitgate/internal/cli"
)

func main() { os.Exit(cli.Main()) }
