package daemon

import (
	"errors"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
)

// faults returns the problems that a kind of sink finds in its settings, with their places in the file.
func faults(kind string, problems []error) []config.Fault {
	var all []config.Fault
	for _, problem := range problems {
		fault := config.Fault{Key: kind, Reason: problem.Error()}
		if at, ok := errors.AsType[*sinks.KeyError](problem); ok {
			fault = config.Fault{Key: kind + "." + at.Key, Reason: at.Err.Error()}
		}
		all = append(all, fault)
	}
	return all
}
