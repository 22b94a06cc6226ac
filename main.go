// Command causeway runs every part of the mesh: coordinator, edge, exit, and the operator's CLI.
package main

import (
	"context"
	"os"

	"github.com/causeway-mesh/causeway/node/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
