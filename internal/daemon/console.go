package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/console"
	"github.com/webhook-bridge/bridge/internal/history"
	"github.com/webhook-bridge/bridge/internal/listener"
)

// openConsole makes the operators' pages, or returns nil if they are turned off. They call the services as the admin listener does.
func (a *Server) openConsole() (*console.Console, error) {
	if a.config().Listen.WithoutConsole {
		return nil, nil //nolint:nilnil // there is none
	}
	a.history = history.New(a.counted)
	return console.New(console.Config{
		Admin: a.operators, Streams: a.subscriptions, Operators: consoleOperators{a}, History: a.history,
		Sources: a.consoleSources, Secure: a.config().Listen.Admin.TLS != nil, Logger: a.log,
	})
}

// consoleOperators admits the callers of the console: those of the admin listener.
type consoleOperators struct{ *Server }

// Open implements [console.Operators].
func (o consoleOperators) Open() bool { return o.admits.Load().open }

// Admit implements [console.Operators].
func (o consoleOperators) Admit(ctx context.Context, token string) (_ context.Context, name string, ok bool) {
	if admits := o.admits.Load(); !admits.open {
		if !admits.has(token) {
			return ctx, "", false
		}
		listener.Verified(ctx)
	}
	return o.access.AsOperator(ctx), "", true
}

// consoleSources are the configured sources, for the console.
func (a *Server) consoleSources() (all []console.Source) {
	sources := a.config().Sources
	for i := range sources {
		s := console.Source{Name: sources[i].Name, Connector: sources[i].Connector.Name}
		if events, err := sources[i].Connector.Events(); err == nil { // it was read at the start
			s.Events = slices.Sorted(maps.Keys(events))
		}
		all = append(all, s)
	}
	return all
}

// twice is a registry whose collectors are in another one, too.
type twice struct {
	*prometheus.Registry

	other *prometheus.Registry
}

// Register implements [prometheus.Registerer].
func (t twice) Register(c prometheus.Collector) error {
	return errors.Join(t.Registry.Register(c), t.other.Register(c))
}

// MustRegister implements [prometheus.Registerer].
func (t twice) MustRegister(all ...prometheus.Collector) {
	t.Registry.MustRegister(all...)
	t.other.MustRegister(all...)
}

// Unregister implements [prometheus.Registerer].
func (t twice) Unregister(c prometheus.Collector) bool {
	t.other.Unregister(c)
	return t.Registry.Unregister(c)
}
