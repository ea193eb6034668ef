package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
)

// registry is a journal that writes down who is registered, and how. It cannot register one of the names.
type registry struct {
	journal.Journal

	broken     string
	registered map[string]journal.WhenFull
	changed    chan struct{}
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	j, err := pebble.Open(t.Context(), pebble.Config{Dir: filepath.Join(t.TempDir(), "data"), MinFree: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return &registry{Journal: j, registered: map[string]journal.WhenFull{}, changed: make(chan struct{}, 10)}
}

func (r *registry) Register(ctx context.Context, name string, from sinks.Position, full journal.WhenFull) error {
	if name == r.broken {
		return errors.New("the disk is away")
	}
	r.registered[name] = full
	return r.Journal.Register(ctx, name, from, full)
}

func (r *registry) Unregister(name string) {
	delete(r.registered, name)
	r.Journal.Unregister(name)
	r.changed <- struct{}{}
}

// withFiles has file sinks and a connector.
var withFiles = Plugins{Connectors: []*connectors.Connector{{Name: "acme", EventField: "type"}}, Sinks: []SinkKind{FileSink()}}

// parsed is a configuration with these sinks, a line each.
func parsed(t *testing.T, lines ...string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bridge.yaml")
	text := "sources: [{name: a, connector: acme, auth: {none: {}}}]\nsinks:\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := withFiles.LoadConfig(path, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// A reload that is refused leaves the journal's readers as they were, also when its caller has left: a sink that was removed before does not
// hold retention back again, a new one leaves no position, and one that stays has the settings that stay.
func TestRefusedReloadRegistersNothing(t *testing.T) {
	const (
		kept    = "- {name: kept, file: {path: kept.jsonl}}"
		changed = "- {name: kept, file: {path: kept.jsonl}, when_full: skip}"
		removed = "- {name: removed, file: {path: removed.jsonl}}"
		added   = "- {name: added, file: {path: added.jsonl}}"
	)
	for _, x := range []struct {
		name, last, key, reason string
		cancel                  bool
	}{
		{name: "the journal fails", last: "- {name: last, file: {path: last.jsonl}}", key: "sinks[3]", reason: "the disk is away"},
		{name: "the journal fails, and the caller leaves", last: "- {name: last, file: {path: last.jsonl}}", key: "sinks[3]", reason: "the disk is away", cancel: true},
		{name: "a start that is not in the log", last: "- {name: last, from: 99, file: {path: last.jsonl}}", key: "sinks[3].from", reason: "lies past the log's end"},
		{
			name: "a required sink that cannot be opened", last: "- {name: last, required: true, file: {path: " + filepath.Join(t.TempDir(), "no/such.jsonl") + "}}",
			key: "sinks[3].required", reason: "cannot be opened",
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			j := newRegistry(t)
			j.broken = "last"
			old := parsed(t, kept)
			a := &Server{journal: j, plugins: withFiles, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
			a.setConfig(old)
			for _, s := range old.Sinks {
				p := a.newPush(s, old)
				if err := p.register(t.Context()); err != nil {
					t.Fatal(err)
				}
				a.pushes.set([]*push{p})
			}
			if err := j.Journal.Register(t.Context(), "removed", 1, journal.Hold); err != nil {
				t.Fatal(err)
			}
			j.Journal.Unregister("removed")

			next := parsed(t, changed, removed, added, x.last)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if x.cancel {
				j.Journal = leaving{j.Journal, leave}
			}
			problems := a.preparePushes(ctx, next, next.ChangesFrom(old), new(change))
			if len(problems) == 0 || problems[0].Path != x.key || !strings.Contains(problems[0].Reason, x.reason) {
				t.Errorf("problems %v", problems)
			}
			if got := fmt.Sprint(j.registered); got != fmt.Sprint(map[string]journal.WhenFull{"kept": journal.Hold}) {
				t.Errorf("registered %s", got)
			}
			readers, err := j.Readers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, r := range readers {
				all = append(all, fmt.Sprint(r.Name, " ", r.Registered))
			}
			if !slices.Equal(all, []string{"kept true", "removed false"}) {
				t.Errorf("readers %q", all)
			}
		})
	}
}

// leaving is a journal whose caller leaves when it has registered a sink.
type leaving struct {
	journal.Journal

	leave func()
}

func (l leaving) Register(ctx context.Context, name string, from sinks.Position, full journal.WhenFull) error {
	err := l.Journal.Register(ctx, name, from, full)
	if name == "added" {
		l.leave()
	}
	return err
}

// A sink that another replica delivers to is unregistered, too, when it is removed.
func TestRemovedElsewhere(t *testing.T) {
	j := newRegistry(t)
	p := &push{journal: j, elsewhere: true, cfg: config.Sink{Name: "far"}, log: slog.New(slog.DiscardHandler)}
	if err := p.register(t.Context()); err != nil {
		t.Fatal(err)
	}
	var s pushes
	s.set([]*push{p})
	ctx, stop := context.WithCancel(t.Context())
	ended := s.start(ctx)
	s.replace(nil)
	<-j.changed
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(j.registered) > 0 {
		t.Errorf("still registered: %v", j.registered)
	}
}

// What was opened for a reload that ends during a shutdown is closed.
func TestReloadedTooLate(t *testing.T) {
	var s pushes
	ctx, stop := context.WithCancel(t.Context())
	ended := s.start(ctx)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	lane := &closing{}
	s.replace([]*push{{lanes: []sinks.Sink{lane}}})
	if !lane.closed {
		t.Error("the sink stays open")
	}
}

// closing is a sink that is only closed.
type closing struct {
	sinks.Sink

	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}
