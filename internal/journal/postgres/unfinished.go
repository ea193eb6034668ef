package postgres

// This file holds the names that other files still have to define. Each part removes its own lines. It goes away before this package is used.

import (
	"context"

	"github.com/webhook-bridge/bridge/internal/journal/epoch"
)

// R: tail.go. tail is the end of the log that this instance shows: bounds, epochs, and a channel that is closed at each change.
//
//	init(h, epochs)            at opening; h is confirmed
//	committed(h, epochs)       by the committer, after its COMMIT was confirmed: shows h.next at once. epochs is nil if they are the same
//	seen(h)                    by whoever read the head: shows it once a confirmation that began after was confirmed
type tail struct{}

func (t *tail) init(head, *epoch.List) {}

func (t *tail) committed(head, *epoch.List) {}

// R: runTail polls the head, and listens for notifications.
func (j *Journal) runTail() {}

// R: confirm.go. confirm returns when a write of this instance that began after the call is confirmed. Callers share writes.
type confirmations struct{}

func (c *confirmations) init() {}

func (j *Journal) runConfirmations() {}

func (j *Journal) confirm(context.Context) error { return unfinished }

// C: readers.go, claims.go. readers are the claims that this instance holds and the readers that it registered.
type readers struct{}

func (r *readers) init() {}

// C: runReaders renews leases and registrations and this instance's row in the table replica.
func (j *Journal) runReaders() {}

// C: retain.go, partitions.go. runRetention runs retention on the instance that holds the lease _retention.
func (j *Journal) runRetention() {}
