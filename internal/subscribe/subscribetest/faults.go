package subscribetest

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// fault is a fault that is planted in what the service stands on.
type fault struct {
	name   string
	breaks func(Parts) Parts
	plan   func(*Plan)
}

// faults has at least one for each promise.
var faults = []fault{
	{"a group misses an event", withLog(func(l *log) { l.change = hide }), groupsAlone},
	{"a follower misses an event", withLog(func(l *log) { l.change = hide }), followersAlone},
	{"subjects are not told apart", withLog(func(l *log) { l.change = func(r *sinks.Record) { r.Header.Subject = nil } }), groupsAlone},
	{"a token leads to the event before", withLog(func(l *log) { l.mark = -1 }), followersAlone},
	{"a token leads behind an event", withLog(func(l *log) { l.mark = 1 }), followersAlone},
	{"the log's end is not the end", withLog(func(l *log) { l.behind = 3 }), followersAlone},
	{"a group begins before its start", withStore(startEarly), late},
	{"a seek moves nothing", withStore(seekNothing), seeking},
	{"an acknowledgement is not stored", withStore(forgetWrites), killing},
	{"a failure is not stored", withStore(forgetFailures), killing},
	{"a parked event is not stored", withStore(without(func(c *journal.ShareChange) { c.Park = nil })), groupsAlone},
	{"an acknowledged letter stays", withStore(without(func(c *journal.ShareChange) { c.Unpark = nil })), groupsAlone},
	{"positions go back", withStore(oldStates), groupsAlone},
	{"what is no longer kept is left out in silence", withLog(func(l *log) { l.silent = true }), expiring},
}

func calmly(p *Plan) {
	p.Kills, p.Restarts, p.Freezes, p.Seeks, p.Expiries, p.Letters = false, false, false, false, false, true
	p.Followers, p.Groups = 2, p.Groups[:1]
	p.Groups[0].Members, p.Groups[0].Pullers, p.Groups[0].All = 3, 1, false
}

func groupsAlone(p *Plan)    { calmly(p); p.Followers = 0 }
func followersAlone(p *Plan) { calmly(p); p.Groups, p.Letters, p.Before = nil, false, 10 }
func late(p *Plan)           { groupsAlone(p); p.Groups[0].Latest, p.Before = true, 20 }
func killing(p *Plan)        { groupsAlone(p); p.Kills = true }

func seeking(p *Plan) {
	groupsAlone(p)
	p.Seeks, p.Groups[0].Latest = true, false
}

func expiring(p *Plan) {
	followersAlone(p)
	p.Expiries, p.Followers, p.Pace.Steps, p.Pace.Pause = true, 6, 2*Fast.Steps, Fast.Pause
}

// FindsFaults plants faults, and expects that histories find each. open makes an engine for a bubble.
func FindsFaults(t *testing.T, open func(t *testing.T, seed uint64) Harness) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(500) {
				if found := f.found(t, seed, open); len(found) > 0 {
					t.Logf("history %d: %v", seed, found[0])
					return
				}
			}
			t.Error("no history finds it")
		})
	}
}

func (f fault) found(t *testing.T, seed uint64, open func(t *testing.T, seed uint64) Harness) (breaches []error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		plan := RandomPlan(seed, Fast)
		plan.Pace.Calm /= 10
		f.plan(&plan)
		breaches = Run(context.Background(), plan, open(t, seed), f.breaks)
	})
	return breaches
}

// log is a log with a fault.
type log struct {
	sinks.Log
	change func(*sinks.Record)
	mark   int
	behind sinks.Position
	silent bool
}

func withLog(plant func(*log)) func(Parts) Parts {
	return func(p Parts) Parts {
		l := &log{Log: p.Log, change: func(*sinks.Record) {}}
		plant(l)
		p.Log = l
		return p
	}
}

func hide(r *sinks.Record) {
	if r.Position%17 == 0 {
		r.Header.Type = []byte(other)
	}
}

func (l *log) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	if l.silent {
		from = max(from, l.Log.Bounds().Earliest)
	}
	read, err := l.Log.Read(ctx, from, records)
	for i := range read {
		l.change(&read[i])
	}
	return read, err
}

func (l *log) Mark(p sinks.Position) sinks.Mark {
	m := l.Log.Mark(p)
	if p > 5 && p+5 < l.Log.Bounds().Next {
		m.Position += sinks.Position(l.mark)
	}
	return m
}

func (l *log) Bounds() sinks.Bounds {
	b := l.Log.Bounds()
	if b.Next > b.Earliest+l.behind {
		b.Next -= l.behind
	}
	if l.silent {
		b.Earliest = 1
	}
	return b
}

func (l *log) Resolve(ctx context.Context, m sinks.Mark) error {
	if l.silent {
		m = l.Log.Mark(max(m.Position, l.Log.Bounds().Earliest))
	}
	return l.Log.Resolve(ctx, m)
}

// store is a store of groups with a fault.
type store struct {
	journal.Groups
	save   func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error)
	set    func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error)
	shares func(ctx context.Context, group string, indexes []int) ([]journal.Share, error)
}

func withStore(plant func(*store)) func(Parts) Parts {
	return func(p Parts) Parts {
		s := &store{Groups: p.Groups, save: p.Groups.SaveShares, set: p.Groups.SetGroup, shares: p.Groups.Shares}
		plant(s)
		p.Groups = s
		return p
	}
}

func (s *store) SaveShares(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
	return s.save(ctx, group, changes)
}

func (s *store) SetGroup(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
	return s.set(ctx, name, version, definition, reset)
}

func (s *store) Shares(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	return s.shares(ctx, group, indexes)
}

// startEarly makes groups that begin at the log's begin.
func startEarly(s *store) {
	s.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
		if version == 0 {
			reset = &journal.GroupReset{}
		}
		return s.Groups.SetGroup(ctx, name, version, definition, reset)
	}
}

func seekNothing(s *store) {
	s.set = func(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
		if version != 0 {
			reset = nil
		}
		return s.Groups.SetGroup(ctx, name, version, definition, reset)
	}
}

// forgetWrites says at times that it has written, and has not.
func forgetWrites(s *store) {
	var n atomic.Int64
	s.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
		if n.Add(1)%5 == 0 {
			return slices.Repeat([]bool{true}, len(changes)), nil
		}
		return s.Groups.SaveShares(ctx, group, changes)
	}
}

func forgetFailures(s *store) {
	s.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
		changes = slices.Clone(changes)
		for i := range changes {
			var state journalv1.GroupShare
			if err := proto.Unmarshal(changes[i].State, &state); err != nil {
				return nil, err
			}
			state.Failed = nil
			changes[i].State, _ = proto.Marshal(&state)
		}
		return s.Groups.SaveShares(ctx, group, changes)
	}
}

// without leaves a part of each change out.
func without(leaveOut func(*journal.ShareChange)) func(*store) {
	return func(s *store) {
		s.save = func(ctx context.Context, group string, changes []journal.ShareChange) ([]bool, error) {
			changes = slices.Clone(changes)
			for i := range changes {
				leaveOut(&changes[i])
			}
			return s.Groups.SaveShares(ctx, group, changes)
		}
	}
}

// oldStates shows at times the states of the shares as they were first.
func oldStates(s *store) {
	var first atomic.Pointer[[]journal.Share]
	var n atomic.Int64
	s.shares = func(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
		all, err := s.Groups.Shares(ctx, group, indexes)
		if err != nil || len(indexes) != journal.GroupShares {
			return all, err
		}
		first.CompareAndSwap(nil, &all)
		if n.Add(1)%4 == 0 {
			return *first.Load(), nil
		}
		return all, nil
	}
}
