package config

import (
	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// routeOf returns the filter of a sink's route, or nil if it has none.
func routeOf(file *configv1.Route) *streamv1.Filter {
	if file == nil {
		return nil
	}
	return &streamv1.Filter{Types: file.GetTypes(), Sources: file.GetSources(), Subjects: file.GetSubjects(), Cel: file.GetWhere()}
}
