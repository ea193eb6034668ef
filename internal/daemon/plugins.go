package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
)

// Plugins are the connectors and the kinds of sinks that the program has.
type Plugins struct {
	// Connectors have different names.
	Connectors []*connectors.Connector
	// Sinks have different names.
	Sinks []SinkKind
}

// SinkKind is a kind of sink: how to describe, check and open a sink of the configuration.
type SinkKind struct {
	// Name is the configuration's key for the settings of such a sink.
	Name string
	// Describe says in a few words where the sink's events go.
	Describe func(config.Sink) string
	// Check returns the problems of a sink's settings. It contacts nothing.
	Check func(config.Sink) []config.Fault
	// Resumes reports whether a sink is a [sinks.Resumer], with these settings. Then Open must return one. Nil: never. Such a sink
	// has one lane.
	Resumes func(config.Sink) bool
	// Open connects the sink, which gets the events of the origin.
	Open func(context.Context, config.Sink, sinks.Origin) (sinks.Sink, error)
}

// ByName returns the connectors by their names.
func (p Plugins) ByName() map[string]*connectors.Connector {
	all := make(map[string]*connectors.Connector, len(p.Connectors))
	for _, c := range p.Connectors {
		all[c.Name] = c
	}
	return all
}

// Connector returns the connector with this name, or nil.
func (p Plugins) Connector(name string) *connectors.Connector {
	if i := slices.IndexFunc(p.Connectors, func(c *connectors.Connector) bool { return c.Name == name }); i >= 0 {
		return p.Connectors[i]
	}
	return nil
}

// Check returns an error if two plug-ins have one name.
func (p Plugins) Check() error {
	seen := map[string]bool{}
	for _, c := range p.Connectors {
		if seen[c.Name] {
			return fmt.Errorf("two connectors are called %s", c.Name)
		}
		seen[c.Name] = true
	}
	clear(seen)
	for _, k := range p.Sinks {
		if seen[k.Name] {
			return fmt.Errorf("two kinds of sinks are called %s", k.Name)
		}
		seen[k.Name] = true
	}
	return nil
}

// LoadConfig reads the configuration file at path and checks it against the plug-ins. The function lookup finds environment
// variables. Problems of the configuration are returned as [*config.Error].
func (p Plugins) LoadConfig(path string, lookup func(string) (string, bool)) (*config.Config, error) {
	return config.Load(path, lookup, p.ByName(), p.checks())
}

// ParseConfig behaves like [Plugins.LoadConfig] for a configuration in memory. The name stands for the file in errors.
func (p Plugins) ParseConfig(name string, data []byte, lookup func(string) (string, bool)) (*config.Config, error) {
	return config.Parse(name, data, lookup, p.ByName(), p.checks())
}

func (p Plugins) checks() config.Checks {
	return config.Checks{Sink: p.checkSink}
}

func (p Plugins) checkSink(s config.Sink) []config.Fault {
	kind, known := p.sinkKind(s)
	if !known {
		return []config.Fault{{Key: s.Kind(), Reason: "this program has no such kind of sink; it has " + p.sinkNames()}}
	}
	faults := append(checkRoute(s), checkFrom(s)...)
	if s.Concurrency > 1 && kind.resumes(s) {
		faults = append(faults, config.Fault{Key: "concurrency", Reason: "must be 1: the destination stores one position"})
	}
	if kind.Check != nil {
		faults = append(faults, kind.Check(s)...)
	}
	return faults
}

func (k SinkKind) resumes(s config.Sink) bool { return k.Resumes != nil && k.Resumes(s) }

// DescribeSink says in a few words where the events of a configured sink go.
func (p Plugins) DescribeSink(s config.Sink) string {
	kind, known := p.sinkKind(s)
	if !known {
		return s.Kind()
	}
	return kind.Describe(s)
}

func (p Plugins) openSink(ctx context.Context, s config.Sink, from sinks.Origin) (sinks.Sink, error) {
	kind, known := p.sinkKind(s)
	if !known {
		return nil, fmt.Errorf("there is no kind of sink %q", s.Kind())
	}
	sink, err := kind.Open(ctx, s, from)
	if err != nil {
		return nil, err
	}
	_, resumes := sink.(sinks.Resumer)
	switch {
	case kind.resumes(s) && !resumes:
		return nil, errors.Join(fmt.Errorf("the %s sink does not store its position", s.Kind()), sink.Close())
	case !kind.resumes(s) && resumes:
		return plainSink{sink}, nil
	}
	return sink, nil
}

// resumes reports whether a configured sink stores its position at the destination.
func (p Plugins) resumes(s config.Sink) bool {
	kind, known := p.sinkKind(s)
	return known && kind.resumes(s)
}

// plainSink hides that a sink could store its position.
type plainSink struct{ sinks.Sink }

func (p Plugins) sinkKind(s config.Sink) (SinkKind, bool) {
	for _, k := range p.Sinks {
		if k.Name == s.Kind() {
			return k, true
		}
	}
	return SinkKind{}, false
}

func (p Plugins) sinkNames() string {
	if len(p.Sinks) == 0 {
		return "none"
	}
	names := make([]string, 0, len(p.Sinks))
	for _, k := range p.Sinks {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}
