package journaltest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/sinks/logtest"
)

// limit is for a case as a whole: an engine that hangs fails, and does not hang the tests.
const limit = 2 * time.Minute

// testCase checks the sentences of its rule.
type testCase struct {
	name, rule string
	run        func(*test)
	needs      []need
}

// need is a function of a harness that a case cannot do without.
type need string

const (
	canReopen need = "Reopen"
	canCrash  need = "Crash"
	canStall  need = "Stall"
	canFreeze need = "Freeze"
	several   need = "second instance"
	canFail   need = "Fail"
	canBeLow  need = "Low"
	canRetain need = "Retain"
	canBackup need = "Backup"
	hasClock  need = "Clock"
	hasGroups need = "store of groups"
)

func (h *Harness) missing(all []need) (missing []string) {
	has := map[need]bool{
		canReopen: h.Reopen != nil, canCrash: h.Crash != nil, canStall: h.Stall != nil,
		canFreeze: h.Freeze != nil, several: len(h.Instances) > 1, canFail: h.Fail != nil,
		canBeLow: h.Low != nil, canRetain: h.Retain != nil, canBackup: h.Backup != nil, hasClock: h.Clock != nil, hasGroups: storeOf(h.Instances[0]) != nil,
	}
	for _, n := range all {
		if !has[n] {
			missing = append(missing, string(n))
		}
	}
	return missing
}

func cases() []testCase {
	return slices.Concat(durabilityCases, orderCases, identityCases, versionCases, quarantineCases, epochCases, clockCases, retentionCases,
		readerCases, failureCases, archiveCases, instanceCases, allGroupCases())
}

// Run runs every case, each against a journal of its own, which open makes.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
	t.Run("log", func(t *testing.T) {
		logtest.Run(t, func(t *testing.T) logtest.Harness {
			h := open(t)
			return (&test{ctx: t.Context(), h: &h, now: Start}).logHarness(t)
		})
	})
}

// Stalls runs only the cases that need Stall, for engines that can stall in several ways.
func Stalls(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range cases() {
		if slices.Contains(c.needs, canStall) {
			t.Run(c.name, func(t *testing.T) { c.test(t, open) })
		}
	}
}

// Failing returns the names of the cases that a journal fails, for tests of this package with engines that are broken on
// purpose.
func Failing(t *testing.T, open func(t *testing.T) Harness) (names []string) {
	t.Helper()
	return failing(t, cases(), open)
}

func failing(t *testing.T, all []testCase, open func(t *testing.T) Harness) (names []string) {
	t.Helper()
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			if h.missing(c.needs) != nil {
				return
			}
			if failure := c.check(t.Context(), &h); failure != "" {
				t.Logf("%s\nrule: %s", failure, c.rule)
				names = append(names, c.name)
			}
		})
	}
	return names
}

// test runs the case, unless the harness has not what it needs.
func (c *testCase) test(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	h := open(t)
	if missing := h.missing(c.needs); missing != nil {
		t.Skipf("the harness has no %s\nrule: %s", strings.Join(missing, ", "), c.rule)
	}
	if failure := c.check(t.Context(), &h); failure != "" {
		t.Errorf("%s\nrule: %s", failure, c.rule)
	}
}

// check runs the case, and returns why it failed, or nothing.
func (c *testCase) check(parent context.Context, h *Harness) (failure string) {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	t := &test{ctx: ctx, h: h, now: Start}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(t)
	}()
	select {
	case <-done:
		return t.failure
	case <-time.After(limit + 10*time.Second):
		return "hangs"
	}
}

// test is one run of a case. Its methods are for the case's own goroutine.
type test struct {
	ctx context.Context
	h   *Harness
	// now is the reading of the journal's clock.
	now time.Time
	// made counts the webhooks that were made, and calls the uses of an instance.
	made, calls int
	failure     string
}

// fatalf ends the case.
func (t *test) fatalf(format string, args ...any) {
	t.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// fail ends the case if there is an error.
func (t *test) fail(what string, err error) {
	if err != nil {
		t.fatalf("%s: %v", what, err)
	}
}
