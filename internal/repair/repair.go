// Package repair applies today's connectors to webhooks that are stored already: it retries webhooks in quarantine, discards
// them, and corrects events that today's connector would make differently. It reads, drafts and commits as package intake
// does at receipt.
//
// # Retry
//
// A retried webhook leaves the quarantine with the events that it makes today, under the time at which it was received. Its
// natural keys and its delivery's id count as at receipt: if the same was published meanwhile, it is a duplicate and is
// released without events. Without such a key it was kept apart, so it is a fact of its own. A stored array that the connector
// can split today is released without events of its own. So is a webhook that is a ping today. Its webhooks become released or quarantined ones, all at once.
//
// # Repair by hand
//
// A webhook may be retried with a body that an operator has corrected. If that can be translated, it is released with the new body, and the
// body as it was received is stored beside it. Otherwise nothing changes.
//
// # Retranslate
//
// A webhook that became events is translated with today's connector. If the result differs from what is published, it is
// corrected by events that say what they supersede. A webhook that was kept as a duplicate made no events and gets none.
package repair

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/sinks"
)

// Journal has the functions of the journal that repair calls. Commits go through intake.
type Journal interface {
	Find(ctx context.Context, q journal.Query) (journal.Page, error)
	Webhook(ctx context.Context, id string) (*journalv1.Webhook, error)
	Corrections(ctx context.Context, webhookID string) ([]journal.Correction, error)
	EventAt(ctx context.Context, p sinks.Position) (*eventv1.Event, error)
	Discard(ctx context.Context, ids []string) (int, error)
}

// Repairer repairs stored webhooks. It is safe for concurrent use.
type Repairer struct {
	journal Journal
	intake  *intake.Intake
}

// New returns a Repairer over a journal that the caller keeps open, and the intake that commits to it.
func New(j Journal, in *intake.Intake) *Repairer { return &Repairer{journal: j, intake: in} }

// HeldElements is the fault of a released array some of whose webhooks could not be translated, and are in quarantine
// themselves. It is never stored.
const HeldElements intake.Reason = "held_elements"

// Options say how to retry a webhook.
type Options struct {
	// Event, if set, is the vendor's event that the webhook is read as. It replaces the name in the webhook. The connector must
	// have it.
	Event string
	// DryRun changes nothing. Then it does not show whether a webhook is a duplicate.
	DryRun bool
	// Body, if set, is JSON that an operator wrote in place of the webhook's body, and By is who did.
	Body []byte
	By   string
}

// Retried is the result of the retry of a quarantined webhook.
type Retried struct {
	// Outcome is Accepted; Duplicate if the same was published meanwhile; Ping; or Quarantined, as it was, for the reason that Fault
	// says.
	Outcome intake.Outcome
	// Event is the vendor's name for it.
	Event string
	// Events is how many were published, or would be. None of a duplicate.
	Events int
	// Fault says why it stays in quarantine; or, of an array that was accepted, that some of its webhooks do: [HeldElements].
	Fault *intake.Fault
}

// Retry reads a quarantined webhook with today's connector and publishes what it becomes. It blocks until that is durable, or
// ctx ends. w is not changed.
//
// Errors: those of [intake.Intake.Commit]; [journal.ErrNotFound] if it is not in quarantine, or not any more.
func (p *Repairer) Retry(ctx context.Context, src *intake.Source, w *journalv1.Webhook, o Options) (Retried, error) {
	r := Retried{Outcome: intake.Quarantined, Event: o.Event}
	if _, known := src.Event(o.Event); o.Event != "" && !known {
		r.Fault = intake.NewFault(intake.UnknownEvent, unknownEvent(src.Connector, o.Event))
		return r, nil
	}
	if o.Body != nil {
		w = changed(w, o)
	}
	drafts := src.Drafts(src.Redelivery(w, o.Event))
	r.Event, r.Fault = drafts[0].Event, drafts[0].Fault
	held := 0
	for i, d := range drafts {
		if r.Fault != nil || o.DryRun { // otherwise Commit logs it
			p.intake.LogPanic(src, d.Event, d.Fault)
		}
		if i > 0 && d.Fault != nil {
			held++
		}
		r.Events += d.Events()
	}
	if r.Fault != nil {
		return r, nil //nolint:nilerr // the fault is the answer
	}
	r.Outcome = intake.Accepted
	if drafts[0].Ping != nil {
		r.Outcome = intake.Ping
	}
	if held > 0 {
		r.Fault = intake.NewFault(HeldElements, fmt.Errorf("%d of the array's %d webhooks stay in quarantine", held, len(drafts)-1))
	}
	if o.DryRun {
		return r, nil
	}
	if err := p.intake.Commit(ctx, drafts...); err != nil {
		return Retried{}, fmt.Errorf("repair: retry: %w", err)
	}
	r.Outcome, r.Events = drafts[0].Outcome, 0
	for _, d := range drafts {
		if d.Outcome == intake.Accepted {
			r.Events += d.Events()
		}
	}
	return r, nil
}

// changed returns a stored webhook with another body, and with what that replaces.
func changed(w *journalv1.Webhook, o Options) *journalv1.Webhook {
	n := proto.CloneOf(w)
	n.Repair = &journalv1.HandRepair{Body: w.GetBody(), Encoding: w.GetEncoding(), At: timestamppb.Now(), By: o.By}
	n.Body, n.Encoding = o.Body, journalv1.Encoding_ENCODING_JSON
	return n
}

// Discard removes from quarantine the webhooks that q selects, page by page, for as long as more says so, which is told the
// number so far. It returns the number, and the id to continue after, which is empty at the end. With an error both are still
// valid. Errors are the journal's.
func (p *Repairer) Discard(ctx context.Context, q journal.Query, more func(discarded int) bool) (n int, next string, err error) {
	q.Quarantined = true
	for {
		page, err := p.journal.Find(ctx, q)
		if err != nil {
			return n, q.After, err
		}
		ids := make([]string, 0, len(page.Webhooks))
		for _, w := range page.Webhooks {
			ids = append(ids, w.GetId())
		}
		removed, err := p.journal.Discard(ctx, ids)
		if n += removed; err != nil {
			return n, q.After, err
		}
		if q.After = page.Next; page.Next == "" || !more(n) {
			return n, page.Next, nil
		}
	}
}

// unknownEvent is the fault of an event that the connector does not have. It names the events that may be meant.
func unknownEvent(c *connectors.Connector, name string) error {
	events, err := c.Events()
	if err != nil {
		return err
	}
	return fmt.Errorf("connector %s has no event named %.64s%s", c.Name, name, near.Question(name, slices.Collect(maps.Keys(events))))
}
