// Package journaltest checks engines of the journal. An engine passes when it keeps every sentence under Promises in the
// documentation of package journal.
//
// [Run] has a case for each of these sentences. A case carries the sentence, prints it when the engine breaks it, and runs
// under a deadline. [Run] also runs the cases of package logtest, because a journal is a sinks.Log.
//
// [Histories] appends, crashes, reopens, removes and moves the clock at random, and compares the journal with a simple model.
// It finds what happens when several promises meet. The model is written from the specification, and shares no code with
// package commit.
//
// An engine provides a [Harness]: open journals, and the failures that the cases need. The engine in package pebble shows how;
// its tests also check this kit against engines that are broken on purpose.
package journaltest

import (
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// An engine opens the journal of a [Harness] with these settings. The journal has no limit of size, and it runs retention only
// when the harness says so.
const (
	EventAge      = 10 * time.Hour
	QuarantineAge = 20 * time.Hour
	ParkedAge     = 15 * time.Hour
	// MaxWindow is the longest window of a key, and how long keys are kept.
	MaxWindow = 30 * time.Hour
)

// Start is the reading of the journal's clock at first. Only [Harness.Clock] moves it.
var Start = time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC)

// Harness is an empty journal, and the failures that can happen to it. A nil function skips the cases that need it.
type Harness struct {
	// Instances have the journal open. Cases use them in turn: one reads what another has committed. An engine for one process
	// has one instance, which skips the cases about several.
	Instances []journal.Journal
	// Reopen ends the process of an instance, as kill -9 does, and starts it again. It returns the new instance.
	Reopen func(i int) journal.Journal
	// Crash cuts the power of the storage, and then starts all instances again, and returns them. The power goes just before the
	// n-th write, counted from 0, that the storage gets while during runs, or when during has returned, if there were no more
	// writes. Calls that are under way then must return. An odd n keeps some of the data that was written and not made durable;
	// an even n keeps none of it. during may be nil.
	Crash func(n int, during func()) []journal.Journal
	// Stall holds up everything that would become durable. held is closed when the first commit is held up. resume lets it go on, or
	// has it fail.
	Stall func() (held <-chan struct{}, resume func(fail bool))
	// Certain says that a commit which failed, or was cut off, left nothing. Otherwise the entry may be there nevertheless: whole, and
	// known as a duplicate.
	Certain bool
	// Freeze stops an instance, as SIGSTOP does, until thaw is called: nothing of it reaches the storage, and its own clock goes on. A claim
	// that it holds runs out within seconds.
	Freeze func(i int) (thaw func())
	// Fail has every write fail, until mend is called.
	Fail func() (mend func())
	// Low has the storage look nearly full, until mend is called.
	Low func() (mend func())
	// Retain runs retention once, at every instance.
	Retain func()
	// Backup copies a journal as it is: that of an instance, or a restored one. restore opens the copy as a journal of its own,
	// and may be called several times.
	Backup func(j journal.Journal) (restore func() journal.Journal)
	// Clock moves the clock of all instances, forwards or back.
	Clock func(d time.Duration)
}
