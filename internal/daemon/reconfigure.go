package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/openapi"
)

// inEffect is a configuration that is in effect.
type inEffect struct {
	*config.Config

	fingerprint string
}

func (a *Server) setConfig(cfg *config.Config) {
	a.current.Store(&inEffect{cfg, cfg.Fingerprint()})
}

// config returns the configuration that is in effect. Parts of the program that use several of its values take it once.
func (a *Server) config() *config.Config { return a.current.Load().Config }

// Config returns the configuration that is in effect.
func (a *Server) Config() *config.Config { return a.config() }

func (a *Server) fingerprint() string { return a.current.Load().fingerprint }

// sourceNames returns the names of the configured sources. It is never nil.
func sourceNames(cfg *config.Config) []string {
	names := make([]string, 0, len(cfg.Sources))
	for i := range cfg.Sources {
		names = append(names, cfg.Sources[i].Name)
	}
	return names
}

// requiredTimeout is how long the sinks may take to open that a reload adds and that are required.
const requiredTimeout = 15 * time.Second

// reloaded is what became of a reload.
type reloaded struct {
	// problems are why the file was refused. Then nothing has changed.
	problems []config.Problem
	changes  config.Changes
}

// reload reads the configuration file again. It first prepares all that can fail. Then it puts each part in its place, which cannot fail: so
// either everything takes effect, or nothing.
func (a *Server) reload(ctx context.Context) reloaded {
	if a.handing.Load() {
		return reloaded{problems: []config.Problem{{Reason: "a hand-over to another process is under way, which reads the configuration by itself"}}}
	}
	old := a.config()
	next, err := old.Reread()
	if err != nil {
		return reloaded{problems: problemsOf(err)}
	}
	if problems := a.refusals(ctx, next); len(problems) > 0 {
		return reloaded{problems: problems}
	}
	changes := next.ChangesFrom(old)
	c, problems := a.prepare(ctx, next, changes)
	if len(problems) > 0 {
		return reloaded{problems: problems}
	}
	a.apply(old, next, c)
	return reloaded{changes: changes}
}

// problemsOf returns the problems of a configuration that could not be read.
func problemsOf(err error) []config.Problem {
	if all, ok := errors.AsType[*config.Error](err); ok {
		return all.Problems
	}
	return []config.Problem{{Reason: strings.TrimPrefix(err.Error(), "config: ")}}
}

// refusals returns why a server could not start with the configuration on this machine, or why this one cannot go on with it.
func (a *Server) refusals(ctx context.Context, next *config.Config) []config.Problem {
	all := a.typed.problems(next)
	for _, f := range a.plugins.Preflight(ctx, next, Probes{Files: true}) {
		if f.Severity == Refusal {
			all = append(all, f.Problem)
		} else {
			a.log.Warn("configuration", "key", f.Path, "problem", f.Reason)
		}
	}
	slices.SortStableFunc(all, config.Problem.Compare)
	return all
}

// change has all parts of a configuration, ready to take their places.
type change struct {
	setSources func()
	stored     map[string]*intake.Source
	document   []byte
	pushes     []*push
	// changed are the pushes with other settings.
	changed map[*push]config.Sink
}

// prepare makes the parts of the next configuration. If there are problems, nothing stays open or registered that was not before.
func (a *Server) prepare(ctx context.Context, next *config.Config, changes config.Changes) (c change, problems []config.Problem) {
	failed := func(key string, err error) []config.Problem {
		return []config.Problem{next.ProblemAt(key, err.Error())}
	}
	var err error
	if c.setSources, err = a.edge.Prepare(next.Sources); err != nil {
		return c, failed("sources", err)
	}
	if c.document, err = openapi.Document(next.Sources); err != nil {
		return c, failed("sources", err)
	}
	c.stored = storedSources(a.intake, next.Sources)
	return c, a.preparePushes(ctx, next, changes, &c)
}

// preparePushes opens the new sinks that are required, and registers the sinks that are new or have other settings. What can be refused is
// looked for before anything is registered.
func (a *Server) preparePushes(ctx context.Context, next *config.Config, changes config.Changes, c *change) (problems []config.Problem) {
	readers, err := a.journal.Readers(ctx)
	if err != nil {
		return []config.Problem{next.ProblemAt("sinks", "the journal cannot be read now, so it is not known where the sinks are")}
	}
	c.changed = map[*push]config.Sink{}
	var opened, registered []*push
	for i, s := range next.Sinks {
		p, kept := a.pushOf(s, next, changes, c)
		c.pushes = append(c.pushes, p)
		if !kept {
			opened = append(opened, p)
			problems = append(problems, openNew(ctx, p, next, i)...)
		}
	}
	for i, p := range c.pushes {
		s, changed := c.changed[p]
		if len(problems) > 0 || !changed && !slices.Contains(opened, p) {
			continue
		}
		if !changed {
			s = p.settings()
		}
		registered = append(registered, p) // also if it fails: it may have taken place
		if err := p.registerAs(ctx, s); err != nil {
			problems = append(problems, next.ProblemAt(fmt.Sprintf("sinks[%d]", i), "its position cannot be stored now: "+err.Error()))
		}
	}
	if len(problems) > 0 {
		a.undoPushes(ctx, opened, registered, readers)
	}
	return problems
}

// openNew opens a new sink if it is required, and finds where it starts.
func openNew(ctx context.Context, p *push, next *config.Config, i int) (problems []config.Problem) {
	ctx, cancel := context.WithTimeout(ctx, requiredTimeout)
	defer cancel()
	key := fmt.Sprintf("sinks[%d]", i)
	if _, err := p.start(ctx, p.settings()); err != nil {
		return []config.Problem{next.ProblemAt(key+".from", strings.TrimPrefix(err.Error(), "from: "))}
	}
	if err := p.openRequired(ctx); err != nil {
		return []config.Problem{next.ProblemAt(key+".required", "the sink cannot be opened: "+err.Error())}
	}
	return nil
}

// undoTimeout is how long undoing a reload may take. It goes on when the reload's caller has left.
const undoTimeout = 15 * time.Second

// undoPushes undoes preparePushes: the journal's readers are again as they were before.
func (a *Server) undoPushes(ctx context.Context, opened, registered []*push, before []journal.ReaderState) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for _, p := range opened {
		p.close()
	}
	for _, p := range registered {
		var err error
		name := p.name()
		known := slices.ContainsFunc(before, func(r journal.ReaderState) bool { return r.Name == name })
		if old := a.pushes.named(name); old != nil {
			err = old.register(ctx) // with the settings that stay
		} else if a.journal.Unregister(name); !known {
			err = a.forgetUnused(ctx, name)
		}
		if err != nil {
			a.log.Warn("a sink of the configuration that was refused stays known to the journal", "sink", name, "error", err)
		}
	}
}

// forgetUnused forgets a reader, unless another instance delivers to it, which has the same new sink.
func (a *Server) forgetUnused(ctx context.Context, name string) error {
	readers, err := a.journal.Readers(ctx)
	if err != nil || !slices.ContainsFunc(readers, func(r journal.ReaderState) bool { return r.Name == name && !r.Claimed }) {
		return err
	}
	return a.journal.Forget(ctx, name)
}

// pushOf returns the push for a sink: the one that there is, or a new one.
func (a *Server) pushOf(s config.Sink, next *config.Config, changes config.Changes, c *change) (p *push, kept bool) {
	old := a.pushes.named(s.Name)
	made := a.newPush(s, next)
	switch {
	case old == nil:
		return made, false
	case old.elsewhere != made.elsewhere: // The replica is named that delivers to it, or another one.
		made.counters = old.counters
		return made, false
	case slices.Contains(changes.Sinks.Changed, s.Name), pushGrace(a.config()) != made.grace:
		c.changed[old] = s
	}
	return old, true
}

// apply puts all parts in their places. Nothing of it can fail. A webhook has the old settings or the new ones, never some of both.
func (a *Server) apply(old, next *config.Config, c change) {
	next.TakeOver(old)
	a.setConfig(next)
	c.setSources()
	a.access.Replace(accessConfig(next.Access))
	a.admitOperators(next.Access)
	a.document.Store(&c.document)
	a.streams.SetSources(sourceNames(next))
	a.payloads.SetSources(c.stored)
	for p, s := range c.changed {
		p.change(s, pushGrace(next))
	}
	a.pushes.replace(c.pushes)
	a.operators.Configure(c.stored, a.pushes.forOperators())
	a.alerts.Replace(next.Sources)
	a.reloads.secrets = config.NewReloader(next)
}
