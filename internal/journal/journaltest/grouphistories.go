package journaltest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
)

const groupSteps = 60

// GroupHistories runs random histories of groups, each on a journal of its own that open makes, and compares each with package memgroups after
// every step. A history has sessions that begin and close, members that join and leave, shares that are taken, written, released and reset,
// with versions of now and of before, parked events and requests, groups that are deleted and made again; alone and several at the same
// instant; instances that are killed, and power cuts between and within all of this.
//
// BRIDGE_TEST_SEEDS says how many histories run. A failing one says how to repeat it.
func GroupHistories(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	eachSeed(t, func(t *testing.T, rng *rand.Rand) string { return groupHistoryOf(t, open(t), rng) })
}

// FailingGroupHistory reports whether one of some histories fails, for tests with stores that are broken on purpose.
func FailingGroupHistory(t *testing.T, open func(t *testing.T) GroupHarness, seeds uint64) (failure string) {
	t.Helper()
	for seed := uint64(0); seed < seeds && failure == ""; seed++ {
		rng := rand.New(rand.NewPCG(seed, 8)) //nolint:gosec // a seed repeats its history
		failure = groupHistoryOf(t, open(t).harness(), rng)
	}
	return failure
}

// RunGroupHistories is [GroupHistories] for a store that is no journal.
func RunGroupHistories(t *testing.T, open func(t *testing.T) GroupHarness) {
	t.Helper()
	GroupHistories(t, func(t *testing.T) Harness { return open(t).harness() })
}

func groupHistoryOf(t *testing.T, h Harness, rng *rand.Rand) (failure string) {
	t.Helper()
	c := testCase{run: func(test *test) { (&groupHistory{test: test, rng: rng}).run() }}
	return c.check(t.Context(), &h)
}

// groupHistory is one history. The engine and the model get the same calls.
type groupHistory struct {
	*test
	rng    *rand.Rand
	engine *groupSide
	model  *groupSide
	// log is everything that happened to the model, so that a model of another past can be made.
	log   []groupOp
	pairs numberPairs
	steps []string
	// serial makes texts unique.
	serial int
}

func (h *groupHistory) run() {
	defer func() {
		if h.failure != "" {
			h.failure += "\nhistory:\n" + strings.Join(h.steps, "\n")
		}
	}()
	h.engine = newSide()
	h.pairs = numberPairs{}
	h.connect()
	h.model = newModel(len(h.h.Instances))
	for i := range h.h.Instances {
		h.together([]groupOp{h.enlist(i)})
	}
	for _, name := range historyGroups {
		h.together([]groupOp{h.set(0, name)})
	}
	for range groupSteps {
		h.step()
	}
	h.cut(nil, 0)
}

// connect has the engine's side use the present instances.
func (h *groupHistory) connect() {
	h.engine.stores = nil
	for _, j := range h.h.Instances {
		h.engine.stores = append(h.engine.stores, storeOf(j))
	}
}

func (h *groupHistory) step() {
	switch n := h.rng.IntN(100); {
	case n < 72:
		h.together([]groupOp{h.op()})
	case n < 84:
		h.together(h.ops())
	case n < 92:
		h.cut([]groupOp{h.op()}, h.rng.IntN(6))
	case n < 95:
		h.cut(h.ops(), h.rng.IntN(8))
	case n < 97:
		h.cut(nil, h.rng.IntN(2))
	case n < 99 && h.h.Fail != nil && len(h.h.Instances) == 1: // sessions of several instances may be lost
		h.fails(h.ops())
	case h.h.Reopen != nil:
		h.kill(h.rng.IntN(len(h.h.Instances)))
	}
}

// ops are calls at the same instant. At most one is an enlistment: the sessions are numbered.
func (h *groupHistory) ops() (all []groupOp) {
	enlists := false
	for len(all) < 3 {
		if op := h.op(); !op.enlists || !enlists {
			enlists = enlists || op.enlists
			all = append(all, op)
		}
	}
	return all
}

// call makes calls at the engine, at the same instant.
func (h *groupHistory) call(ops []groupOp) []groupResult {
	results := make([]groupResult, len(ops))
	var wg sync.WaitGroup
	for i, op := range ops {
		wg.Go(func() { results[i] = op.do(h.ctx, h.engine) })
	}
	wg.Wait()
	for _, r := range results {
		h.engine.keep(r)
	}
	return results
}

// together makes calls at the same instant. Their results are those of the calls one after the other, in some order.
func (h *groupHistory) together(ops []groupOp) {
	results := h.call(ops)
	h.note(ops, results, "")
	for i, op := range ops {
		if err := results[i].failed; err != nil {
			h.fatalf("%s: %v", op.what, err)
		}
	}
	h.settleOn(ops, results, nil)
}

// cut cuts the power at a write of calls, or behind them.
func (h *groupHistory) cut(ops []groupOp, at int) {
	var results []groupResult
	h.crash(at, func() { results = h.call(ops) })
	h.note(ops, results, fmt.Sprintf("power cut at write %d", at))
	h.connect()
	h.settleOn(ops, results, []groupOp{{what: "power cut", kill: everyInstance}})
}

// fails has writes fail while calls are made. Sessions live on.
func (h *groupHistory) fails(ops []groupOp) {
	mend := h.h.Fail()
	results := h.call(ops)
	mend()
	h.note(ops, results, "writes fail")
	h.persist("the groups can be read", func() error {
		_, err := h.engine.stores[0].Group(h.ctx, "no such group")
		if errors.Is(err, journal.ErrNotFound) {
			return nil
		}
		return err
	})
	h.settleOn(ops, results, nil)
}

// kill ends an instance and starts it again.
func (h *groupHistory) kill(i int) {
	h.h.Instances[i] = h.h.Reopen(i)
	h.connect()
	op := groupOp{what: fmt.Sprint("instance ", i, " is killed"), kill: func(n int) bool { return n == i }}
	h.note([]groupOp{op}, []groupResult{{}}, "")
	h.settleOn(nil, nil, []groupOp{op})
}

func everyInstance(int) bool { return true }

func (h *groupHistory) note(ops []groupOp, results []groupResult, how string) {
	var all []string
	for i, op := range ops {
		all = append(all, fmt.Sprintf("%s: %+v", op.what, results[i]))
	}
	h.steps = append(h.steps, fmt.Sprintf("%3d %s %s", len(h.steps), strings.Join(all, "; "), how))
}

// settleOn finds an order of the calls, with or without those that failed, that has their results, and in which the model is as the engine shows
// itself. behind happens behind the calls.
func (h *groupHistory) settleOn(ops []groupOp, results []groupResult, behind []groupOp) {
	var difference string
	pasts := orders(ops, results)
	agree := func() bool {
		shown := h.engine.view(h.test)
		for _, past := range pasts {
			model, ok := h.after(past, behind)
			if !ok {
				continue
			}
			pairs := numberPairs{}
			maps.Copy(pairs, h.pairs)
			if difference = compareSides(pairs, model.view(h.test), shown); difference != "" {
				continue
			}
			h.model, h.pairs = model, pairs
			for _, c := range past {
				h.log = append(h.log, c.op)
			}
			h.log = append(append(h.log, behind...), observation)
			h.model.observe(h.test)
			h.engine.observe(h.test)
			return true
		}
		return false
	}
	if agree() {
		return
	}
	if len(h.h.Instances) > 1 && len(behind) > 0 { // what ended is gone within seconds
		for end := time.Now().Add(heldUpWithin); time.Now().Before(end); {
			if agree() {
				return
			}
		}
	}
	h.fatalf("no order of the calls explains what the engine shows, of %d; with the last one (-model +engine):\n%s", len(pasts), difference)
}

// happened is a call with its result at the engine.
type happened struct {
	op     groupOp
	result groupResult
}

// orders returns the orders in which calls may have happened. A call that failed happened or did not; an enlistment that failed left nothing.
func orders(ops []groupOp, results []groupResult) (all [][]happened) {
	if len(ops) == 0 {
		return [][]happened{nil}
	}
	for i := range ops {
		rest := orders(without(ops, i), without(results, i))
		for _, past := range rest {
			if results[i].failed == nil || !ops[i].enlists {
				all = append(all, append([]happened{{ops[i], results[i]}}, past...))
			}
		}
		if results[i].failed != nil {
			all = append(all, rest...)
		}
	}
	return all
}

// after returns the model after calls. It reports whether these have the results that they had at the engine.
func (h *groupHistory) after(past []happened, behind []groupOp) (model *groupSide, ok bool) {
	model = newModel(len(h.h.Instances))
	for _, op := range h.log {
		op.happen(h.test, model)
	}
	for _, c := range past {
		r := c.op.happen(h.test, model)
		if c.result.failed == nil && !r.Equal(c.result) {
			return nil, false
		}
	}
	for _, op := range behind {
		op.happen(h.test, model)
	}
	return model, true
}

func sameError(a, b error) bool {
	for _, known := range []error{journal.ErrNotFound, journal.ErrConflict, journal.ErrLost} {
		if errors.Is(a, known) != errors.Is(b, known) {
			return false
		}
	}
	return (a == nil) == (b == nil)
}
