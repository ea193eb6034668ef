package journaltest

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// replay is the replay of a reader with a number.
func replay(name string, n int) *journalv1.Replay {
	return &journalv1.Replay{
		Id: fmt.Sprintf("%s-%04d", name, n), Sink: name, From: 1, To: 4, Next: 1, State: journalv1.ReplayState_REPLAY_STATE_WAITING,
		Filter: &streamv1.Filter{Types: []string{"order.*"}}, RequestedAt: timestamppb.New(Start), RequestedBy: "operator",
	}
}

// replayed returns a replay that was carried out.
func replayed(r *journalv1.Replay) *journalv1.Replay {
	r = proto.CloneOf(r)
	r.State, r.Next, r.EndedAt = journalv1.ReplayState_REPLAY_STATE_DONE, r.GetTo(), timestamppb.New(Start)
	return r
}

func (t *test) replaysAre(name string, want ...*journalv1.Replay) {
	got, err := t.journal().ListReplays(t.ctx, name)
	t.fail("replays", err)
	t.equal("replays", got, want)
}

// goOn checks which replays a claim is asked for.
func (t *test) goOn(c journal.Claim, want ...*journalv1.Replay) {
	got, err := c.Requests(t.ctx)
	t.fail("requests", err)
	t.equal("replays that go on", got.Replays, want)
}

func replays(t *test) {
	t.add(plain("a").adding(6))
	t.register("a", 4, journal.Hold)
	t.register("b", 4, journal.Hold)
	t.is("replay of a reader that does not exist", t.journal().StartReplay(t.ctx, replay("nobody", 1)), journal.ErrNotFound)
	first, second, other := replay("a", 1), replay("a", 2), replay("b", 1)
	c := t.claim("a")
	for _, r := range []*journalv1.Replay{first, other, second} {
		given := proto.CloneOf(r)
		t.fail("start", t.journal().StartReplay(t.ctx, given))
		t.equal("the caller's", given, r)
	}
	t.goOn(c, first, second)
	t.fail("pause", t.journal().Pause(t.ctx, "a"))
	t.crash(0, nil)
	t.replaysAre("", first, second, other)
	t.fail("resume", t.journal().Resume(t.ctx, "a"))
	c = t.claim("a")
	t.goOn(c, first, second)
	for n := range maxCrashes {
		saved := proto.CloneOf(first)
		saved.Next, saved.Delivered = uint64(n)+2, uint64(n)+1
		var err error
		t.crash(n, func() { err = c.SaveReplay(t.ctx, saved) })
		all, listed := t.journal().ListReplays(t.ctx, "a")
		t.fail("replays", listed)
		if len(all) != 2 || err == nil && !proto.Equal(all[0], saved) || !proto.Equal(all[0], saved) && !proto.Equal(all[0], first) {
			t.fatalf("saved %v: %v; after a crash there are %v", saved, err, all)
		}
		first = all[0]
		c = t.claim("a")
		t.goOn(c, first, second)
	}
	t.equal("position", c.Position(), t.reader("a").Position)
	t.fail("forget", t.journal().Forget(t.ctx, "a"))
	t.replaysAre("", other)
}

func endedReplays(t *test) {
	t.register("a", 1, journal.Hold)
	c := t.claim("a")
	start := func(n int) *journalv1.Replay {
		r := replay("a", n)
		t.fail("start", t.journal().StartReplay(t.ctx, r))
		return r
	}
	first, second := start(1), start(2)
	t.fail("cancel", t.journal().CancelReplay(t.ctx, "a", first.GetId()))
	t.is("cancel again", t.journal().CancelReplay(t.ctx, "a", first.GetId()), journal.ErrNotFound)
	t.is("cancel another reader's", t.journal().CancelReplay(t.ctx, "b", second.GetId()), journal.ErrNotFound)
	t.fail("save what was cancelled", c.SaveReplay(t.ctx, first))
	t.fail("save", c.SaveReplay(t.ctx, replayed(second)))
	t.fail("save what has ended", c.SaveReplay(t.ctx, second))
	t.fail("save what does not exist", c.SaveReplay(t.ctx, replay("a", 3)))
	t.goOn(c)
	t.reopen()
	c = t.claim("a")
	t.goOn(c)
	all, err := t.journal().ListReplays(t.ctx, "a")
	t.fail("replays", err)
	if len(all) != 2 || all[0].GetState() != journalv1.ReplayState_REPLAY_STATE_CANCELLED || all[0].GetEndedAt() == nil || !proto.Equal(all[1], replayed(second)) {
		t.fatalf("replays are %v", all)
	}
	var active []*journalv1.Replay
	for n := range journal.MaxReplays {
		active = append(active, start(n+3))
	}
	t.is("too many", t.journal().StartReplay(t.ctx, replay("a", 99)), journal.ErrLimit)
	t.goOn(c, active...)
	for _, r := range active {
		t.fail("end", c.SaveReplay(t.ctx, replayed(r)))
	}
	last := start(100)
	all, err = t.journal().ListReplays(t.ctx, "a")
	t.fail("replays", err)
	t.equal("kept", len(all), journal.KeptReplays)
	t.equal("the first that is kept", all[0].GetId(), active[1].GetId())
	t.goOn(c, last)
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	t.is("with a context that is done", t.journal().StartReplay(ctx, replay("a", 101)), context.Canceled)
}
