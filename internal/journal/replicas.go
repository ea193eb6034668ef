package journal

import (
	"context"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// Replicas are the instances of the program over the log. They tell each other what they counted.
type Replicas interface {
	// Replicas returns the instances that were seen within the last hour, ordered by name, then by id. The instance that answers
	// is among them. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Replicas(ctx context.Context) ([]Replica, error)
	// Report replaces the report of this instance, which the others read in [Replica]. It stays for as long as the instance is
	// listed, also after its end. Errors: those of Replicas; the next report makes up for one that failed.
	Report(ctx context.Context, r Report) error
}

// Report is what an instance tells the others of itself.
type Report struct {
	// Counts are the counters of its sources.
	Counts []*journalv1.SourceCounts
	// Config is the fingerprint of its configuration.
	Config string
}

// Replica is an instance of the program.
type Replica struct {
	// ID is new for each start of an instance.
	ID string
	// Name is the configured one, or the host's.
	Name, Version string
	// Started and Seen are when the instance opened the log, and when it was last heard of.
	Started, Seen time.Time
	// Self says that it is the instance that answers. Ended says that it has closed the log in order.
	Self, Ended bool
	// Lag is how many events of the log the instance did not know when it was last heard of.
	Lag uint64
	// Claims are the names that the instance holds, in order.
	Claims []string
	// Report is its last one. It belongs to the caller.
	Report
}
