// Command man writes the manual pages of the program, one for each command, made of its help.
//
//	go run ./tools/man DIR
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"github.com/webhook-bridge/bridge/internal/cli"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("takes the folder to write to")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manual pages are for everyone to read
		return err
	}
	root := cli.Command(daemon.Plugins{})
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Bridge", Manual: "Bridge"}, args[0])
}
