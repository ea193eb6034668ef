package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"strings"
)

func version(_ context.Context, env environment, args []string) error {
	if len(args) > 0 {
		return &usageError{"takes no arguments"}
	}
	fmt.Fprintln(env.stdout, "bridge", buildVersion())
	return nil
}

// buildVersion is the module's version, or the commit it was built from, as the Go tool recorded it.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	parts := []string{cmp.Or(info.Main.Version, "(devel)")}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			parts = append(parts, s.Value)
		}
	}
	return strings.Join(append(parts, info.GoVersion), " ")
}
