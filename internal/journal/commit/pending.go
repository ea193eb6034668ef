package commit

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxReused bounds the buffers that are kept for the next entry.
const maxReused = 64 << 10

// Pending is an entry on its way to the storage. It shares no memory with the caller's.
type Pending struct {
	Item
	// Decision is set by [Group.Decide], and First is then the position of its first event, or where that would be.
	Decision Decision
	First    sinks.Position
	// Drift is the drift to count: that of a webhook that is received, or the new drift of one that is released. Or nil.
	Drift *Drift
	// Quarantined reports whether the webhook is in quarantine, or was.
	Quarantined bool

	// buf holds the webhook, or the correction, and then the events, encoded. ends says where each ends.
	buf  []byte
	ends []int
	// rest are the entries of the same call, in the first entry of a call. They are answered by its done; its err is theirs too.
	rest []*Pending

	// cost is the call's part of unanswered, the sum that it leaves with its answer.
	cost       int64
	unanswered *atomic.Int64

	receipt journal.Receipt
	err     error
	// done gets one value, when receipt and err are set.
	done chan struct{}
	// pool takes it back.
	pool *sync.Pool
}

func (q *Queue) newPending() *Pending {
	if p, ok := q.pool.Get().(*Pending); ok {
		return p
	}
	return &Pending{done: make(chan struct{}, 1), pool: &q.pool}
}

// recycle makes the entries of a call reusable. Nothing else may know them any more.
func (p *Pending) recycle() {
	for _, r := range p.rest {
		r.recycle()
	}
	if cap(p.buf) > maxReused {
		p.buf = nil
	}
	clear(p.Versions)
	*p = Pending{Item: Item{Keys: p.Keys[:0], Versions: p.Versions[:0]}, buf: p.buf[:0], ends: p.ends[:0], done: p.done, pool: p.pool}
	p.pool.Put(p)
}

// Record is the encoded bridge.journal.v1.Webhook, or the Correction. The journal's own fields are not set in it.
func (p *Pending) Record() []byte {
	if len(p.ends) == 0 {
		return nil
	}
	return p.buf[:p.ends[0]]
}

// Event is the i-th event, encoded.
func (p *Pending) Event(i int) []byte { return p.buf[p.ends[i]:p.ends[i+1]] }

// EventSuffix returns the bytes that the commit adds behind the i-th event. It is valid while the group's plan is.
func (p *Pending) EventSuffix(i int) []byte {
	if len(p.Decision.Stale) == 0 {
		return nil
	}
	if _, stale := slices.BinarySearch(p.Decision.Stale, i); stale {
		return staleField
	}
	return nil
}

// size is how many bytes the entries of a call take.
func (p *Pending) size() int {
	n := len(p.buf)
	for _, r := range p.rest {
		n += len(r.buf)
	}
	return n
}

// answer ends a call.
func (p *Pending) answer(err error) {
	p.err = err
	if p.unanswered != nil {
		p.unanswered.Add(-p.cost)
	}
	p.done <- struct{}{}
}

// encode copies the entry, so that the caller may change it afterwards.
func (p *Pending) encode(e *journal.Entry, o *Options) (err error) {
	if p.ID, err = journal.ParseID(e.Webhook.GetId()); err != nil {
		return err
	}
	if len(e.Keys) == 0 {
		return errors.New("no key given")
	}
	for _, k := range e.Keys {
		if k.Window < time.Second || k.Window > o.MaxWindow {
			return fmt.Errorf("window of %v is not between 1s and %v", k.Window, o.MaxWindow)
		}
	}
	p.Operation, p.Bytes, p.Meaning, p.Events = e.Operation, e.Bytes, e.Meaning, len(e.Events)
	p.Keys = append(p.Keys[:0], e.Keys...)
	if err := checkVersions(e, o.MaxWindow); err != nil {
		return err
	}
	p.Versions = append(p.Versions[:0], e.Versions...)
	if err := p.encodeRecord(e, o.Now); err != nil {
		return err
	}
	for _, event := range e.Events {
		p.buf = append(p.buf, event...)
		p.ends = append(p.ends, len(p.buf))
	}
	return nil
}

func checkVersions(e *journal.Entry, longest time.Duration) error {
	if n := len(e.Versions); n != 0 && n != len(e.Events) {
		return fmt.Errorf("%d versions for %d events", n, len(e.Events))
	}
	for i := range e.Versions {
		v := &e.Versions[i]
		switch {
		case v.Subject == journal.Hash{}:
		case len(v.Text) > journal.MaxVersion:
			return fmt.Errorf("version of %d bytes is longer than %d", len(v.Text), journal.MaxVersion)
		case v.Window < time.Second || v.Window > longest:
			return fmt.Errorf("version's window of %v is not between 1s and %v", v.Window, longest)
		}
	}
	return nil
}

// encodeRecord encodes the webhook or the correction.
func (p *Pending) encodeRecord(e *journal.Entry, now func() time.Time) error {
	switch e.Operation {
	case journal.Receive:
		p.Quarantined = e.Webhook.GetQuarantine() != nil
		p.Drift = driftOf(e.Webhook, e.Webhook.GetDrift())
	case journal.Release:
		p.Drift = driftOf(e.Webhook, e.NewDrift)
		p.Quarantined = true
		if e.Webhook.GetReleasedAt() == nil {
			return errors.New("webhook to release has no released_at")
		}
	case journal.Correct:
		if len(e.Events) == 0 || len(e.Events) != len(e.Indexes) {
			return fmt.Errorf("correction has %d events for %d indexes", len(e.Events), len(e.Indexes))
		}
		return p.marshal(&journalv1.Correction{Indexes: e.Indexes, At: timestamppb.New(now())})
	default:
		return fmt.Errorf("unknown operation %d", e.Operation)
	}
	return p.marshal(e.Webhook)
}

func (p *Pending) marshal(m proto.Message) (err error) {
	p.buf, err = proto.MarshalOptions{}.MarshalAppend(p.buf, m)
	p.ends = append(p.ends, len(p.buf))
	return err
}
