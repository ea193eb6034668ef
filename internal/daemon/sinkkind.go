package daemon

import (
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/secret"
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

// currentSecret returns a function that returns a secret for a new connection and notes its use, or nil if there is none.
func currentSecret(v secret.Value) func() string {
	if v == (secret.Value{}) {
		return nil
	}
	return func() string {
		v.Use(time.Now())
		return v.Reveal()
	}
}
