package cli

import (
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/internal/daemon"
)

func version(_ context.Context, env environment, args []string) error {
	if len(args) > 0 {
		return &usageError{"takes no arguments"}
	}
	fmt.Fprintln(env.stdout, "bridge", daemon.Version())
	return nil
}
