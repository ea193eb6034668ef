package bridge

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestObey sends signals right after the first one, which change nothing, and one later.
func TestObey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		stopped, aborted := 0, 0
		go obey(signals, func() { stopped++ }, func() { aborted++ })
		for _, step := range []struct {
			after            time.Duration
			stopped, aborted int
		}{
			{0, 1, 0},
			{0, 1, 0},
			{sameSignal - 1, 1, 0},
			{1, 1, 1},
		} {
			<-time.After(step.after) // The bubble's time, not ours.
			signals <- syscall.SIGTERM
			synctest.Wait()
			if stopped != step.stopped || aborted != step.aborted {
				t.Errorf("%+v: stopped %d times, aborted %d times", step, stopped, aborted)
			}
		}
	})
}
