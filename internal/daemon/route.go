package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// choiceOf returns the function that chooses the events of a sink by its route, or nil if it has all.
func choiceOf(s config.Sink) (func(*sinks.Record) (bool, error), error) {
	if s.Route == nil {
		return nil, nil
	}
	f, err := filter.New(s.Route, nil)
	if err != nil {
		return nil, fmt.Errorf("route of sink %s: %w", s.Name, err)
	}
	return f.Decide, nil
}

// whereKey is the configuration's name for the expression of a route.
const whereKey = "route.where"

// checkRoute returns the problems of a sink's route.
func checkRoute(s config.Sink) []config.Fault {
	if s.Route == nil {
		return nil
	}
	_, err := filter.New(s.Route, nil)
	var field *filter.FieldError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &field):
		return []config.Fault{{Key: "route", Reason: err.Error()}}
	case field.Field != "cel":
		return []config.Fault{{Key: "route." + field.Field, Reason: field.Err.Error()}}
	}
	fault := config.Fault{Key: whereKey, Reason: field.Err.Error()}
	var expression *filter.ExpressionError
	if errors.As(err, &expression) {
		fault.Line, fault.Column = expression.Problems[0].Line, expression.Problems[0].Column
	}
	return []config.Fault{fault}
}

// checkFrom returns the problem of the token that a sink starts at.
func checkFrom(s config.Sink) []config.Fault {
	if s.From.Token == "" {
		return nil
	}
	if err := grpcstream.CheckToken(s.From.Token); err != nil {
		return []config.Fault{{Key: "from", Reason: err.Error()}}
	}
	return nil
}

// route looks for names in a sink's route that no event can have.
func (f *preflight) route(key string, s config.Sink) {
	var names []string
	for i := range f.cfg.Sources {
		names = append(names, f.cfg.Sources[i].Name)
	}
	for n, name := range s.Route.GetSources() {
		if !slices.Contains(names, name) {
			f.addf(Warning, fmt.Sprintf("%sroute.sources[%d]", key, n), "is no source of this configuration%s", near.List(name, names))
		}
	}
	for n, text := range s.Route.GetTypes() {
		if missing := jsonschema.Missing(text); missing != "" {
			f.addf(Warning, fmt.Sprintf("%sroute.types[%d]", key, n), "%s", missing)
		}
	}
	for n, subject := range s.Route.GetSubjects() {
		at := fmt.Sprintf("%sroute.subjects[%d]", key, n)
		switch {
		case strings.TrimSpace(subject) != subject:
			f.addf(Warning, at, "begins or ends with a space; subjects match exactly")
		case !strings.Contains(subject, "/"):
			f.addf(Warning, at, "is no subject of an event: those have a kind and an id, such as order/1234")
		}
	}
}
