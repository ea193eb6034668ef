package main

import (
	"context"
	"fmt"
	"runtime/debug"
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
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v + " " + info.GoVersion
}
