package subscribetest

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The variables that choose the histories: how many there are, or which one alone.
const (
	seedsVariable = "BRIDGE_TEST_STREAM_HISTORIES"
	seedVariable  = "BRIDGE_TEST_STREAM_HISTORY"
)

// Fast is the pace on a clock of its own.
var Fast = Pace{
	Steps: 60, Pause: 800 * time.Millisecond, Deadline: time.Second, Longest: 15 * time.Second,
	Tolerance: time.Millisecond, Grace: 3 * time.Second, Calm: 20 * time.Minute,
}

// Bubbles runs histories, each in a bubble with a clock of its own. open makes the engine of one; it must end everything that it began.
func Bubbles(t *testing.T, seeds int, open func(t *testing.T, seed uint64) Harness) {
	t.Helper()
	eachSeed(t, seeds, runtime.GOMAXPROCS(0), func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { check(t, RandomPlan(seed, Fast), open) })
	})
}

// Parallel runs histories on the computer's clock, so many at a time.
func Parallel(t *testing.T, seeds, atOnce int, pace Pace, open func(t *testing.T, seed uint64) Harness) {
	t.Helper()
	eachSeed(t, seeds, atOnce, func(t *testing.T, seed uint64) { check(t, RandomPlan(seed, pace), open) })
}

// eachSeed runs histories, so many at a time, until one fails.
func eachSeed(t *testing.T, seeds, atOnce int, run func(t *testing.T, seed uint64)) {
	t.Helper()
	var running sync.WaitGroup
	defer running.Wait()
	room := make(chan struct{}, atOnce)
	for _, seed := range chosen(t, seeds) {
		room <- struct{}{}
		if t.Failed() {
			return
		}
		running.Go(func() {
			defer func() { <-room }()
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { run(t, seed) })
		})
	}
}

// check runs one history.
func check(t *testing.T, plan Plan, open func(t *testing.T, seed uint64) Harness) {
	t.Helper()
	breaches := Run(context.Background(), plan, open(t, plan.Seed), nil)
	for _, b := range breaches {
		t.Error(b)
	}
	if len(breaches) > 0 {
		name, _, _ := strings.Cut(t.Name(), "/")
		t.Errorf("%+v\nrepeat it in this package: %s=%d go test -count=1 -run '^%s$' .", plan, seedVariable, plan.Seed, name)
	}
}

// chosen returns the seeds of the histories to run.
func chosen(t *testing.T, seeds int) (all []uint64) {
	t.Helper()
	if text, ok := os.LookupEnv(seedVariable); ok {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	if text, ok := os.LookupEnv(seedsVariable); ok {
		var err error
		if seeds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range seeds {
		all = append(all, uint64(seed))
	}
	return all
}
