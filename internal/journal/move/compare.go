package move

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/webhook-bridge/bridge/sinks"
)

// chunk is over how many positions a hash goes.
const chunk = 100_000

// sum is the number of the records in a chunk, and the sum of their hashes. The order of the records does not matter.
type sum struct {
	records uint64
	hash    [sha256.Size]byte
}

func (s *sum) add(encoded []byte) {
	h := sha256.Sum256(encoded)
	for i := range h {
		s.hash[i] ^= h[i]
	}
	s.records++
}

// comparePass compares everything that a pass copied. Retention may remove records from a source that serves: then it looks again.
func (r *run) comparePass(ctx context.Context, p *Pass) error {
	until := &p.Until
	if r.o.Final && p.Until == r.log.Stamp {
		until = nil
	}
	for _, k := range Growing {
		for {
			err := r.compare(ctx, k, p.Since, until)
			if err == nil {
				break
			}
			before := r.log
			var again error
			if r.log, again = r.from.Log(ctx); again != nil {
				return again
			}
			if before.Bounds.Earliest == r.log.Bounds.Earliest && before.WebhooksFrom == r.log.WebhooksFrom {
				return err
			}
		}
	}
	return nil
}

// compare compares the records of a kind that were committed from one stamp up to another, or to the end.
func (r *run) compare(ctx context.Context, k Kind, since Stamp, until *Stamp) error {
	if k == Keys || k == Versions {
		return r.compareFound(ctx, k, since, until)
	}
	selected := r.selected(k, since, until)
	type sums struct {
		all map[sinks.Position]*sum
		err error
	}
	other := make(chan sums, 1)
	go func() {
		all, err := sumUp(ctx, r.to, k, since, selected, func(uint64) {})
		other <- sums{all, err}
	}()
	a, err := sumUp(ctx, r.from, k, since, selected, func(done uint64) {
		r.o.Progress(Progress{Kind: k, Comparing: true, Done: done, Total: r.total(k, since)})
	})
	b := <-other
	switch {
	case err != nil:
		return fmt.Errorf("move: compare %s: source: %w", k, err)
	case b.err != nil:
		return fmt.Errorf("move: compare %s: target: %w", k, b.err)
	}
	for _, s := range a {
		r.result.Compared[k] += s.records
	}
	return difference(k, a, b.all)
}

// selected returns what of a kind is compared: records that both places must have.
func (r *run) selected(k Kind, since Stamp, until *Stamp) func(Record) bool {
	end := sinks.Position(math.MaxUint64)
	if until != nil {
		end = until.Next
	}
	log := r.log
	return func(one Record) bool {
		switch one := one.(type) {
		case *Event:
			return one.Position >= max(since.Next, log.Bounds.Earliest) && one.Position < end
		case *Webhook:
			if k == Quarantined {
				return true
			}
			return one.First >= since.Next && one.First < end && one.ReceivedAt() >= log.WebhooksFrom
		}
		return true
	}
}

// chunkOf is the number of the chunk that a record belongs to.
func chunkOf(one Record) sinks.Position {
	switch one := one.(type) {
	case *Event:
		return one.Position / chunk
	case *Webhook:
		return one.First / chunk
	}
	return 0
}

func sumUp(ctx context.Context, s Source, k Kind, since Stamp, selected func(Record) bool, progress func(uint64)) (map[sinks.Position]*sum, error) {
	all := map[sinks.Position]*sum{}
	var b []byte
	var done uint64
	for from, more := "", true; more; {
		p, err := s.Read(ctx, k, since, from)
		if err != nil {
			return nil, err
		}
		for _, one := range p.Records {
			if !selected(one) {
				continue
			}
			at := chunkOf(one)
			if all[at] == nil {
				all[at] = new(sum)
			}
			b = one.Append(b[:0])
			all[at].add(b)
			done++
		}
		progress(done)
		from, more = p.Next, p.Next != ""
	}
	return all, nil
}

// difference returns an error that names the first chunk that differs.
func difference(k Kind, a, b map[sinks.Position]*sum) error {
	chunks := map[sinks.Position]bool{}
	for at := range a {
		chunks[at] = true
	}
	for at := range b {
		chunks[at] = true
	}
	for _, at := range slices.Sorted(maps.Keys(chunks)) {
		var one, other sum
		if a[at] != nil {
			one = *a[at]
		}
		if b[at] != nil {
			other = *b[at]
		}
		if one != other {
			return fmt.Errorf("%w: %s from position %d: the source has %d, hash %x, and the target %d, hash %x",
				ErrDiffers, k, at*chunk, one.records, one.hash[:6], other.records, other.hash[:6])
		}
	}
	return nil
}

// compareFound looks up each key or version of the source in the target.
func (r *run) compareFound(ctx context.Context, k Kind, since Stamp, until *Stamp) error {
	var done uint64
	for from, more := "", true; more; {
		p, err := r.from.Read(ctx, k, since, from)
		if err != nil {
			return fmt.Errorf("move: compare %s: source: %w", k, err)
		}
		if until != nil {
			p.Records = slices.DeleteFunc(p.Records, func(one Record) bool { return !committedBefore(one, *until) })
		}
		missing, err := r.to.Missing(ctx, k, p.Records)
		if err != nil {
			return fmt.Errorf("move: compare %s: target: %w", k, err)
		}
		if missing > 0 {
			return fmt.Errorf("%w: %d of %d %s are not in the target", ErrDiffers, missing, len(p.Records), k)
		}
		done += uint64(len(p.Records))
		r.o.Progress(Progress{Kind: k, Comparing: true, Done: done})
		from, more = p.Next, p.Next != ""
	}
	r.result.Compared[k] += done
	return nil
}

func committedBefore(one Record, s Stamp) bool {
	switch one := one.(type) {
	case *Key:
		return s.Before(one.Epoch, one.At())
	case *Version:
		return s.Before(one.Epoch, one.At)
	}
	return true
}

// compareEnds compares the ids, the bounds and the epochs. The source may not have changed since the run began.
func (r *run) compareEnds(ctx context.Context) error {
	a, err := r.from.Log(ctx)
	if err != nil {
		return err
	}
	b, err := r.to.Log(ctx)
	if err != nil {
		return err
	}
	switch {
	case a.Stamp != r.log.Stamp:
		return fmt.Errorf("%w: position %d, then %d", ErrInUse, r.log.Stamp.Next, a.Stamp.Next)
	case a.ID != b.ID || a.Bounds != b.Bounds || !slices.Equal(a.Epochs, b.Epochs):
		return fmt.Errorf("%w: the log %s with positions %d to %d and %d epochs, and the log %s with positions %d to %d and %d epochs", ErrDiffers,
			a.ID, a.Bounds.Earliest, a.Bounds.Next, len(a.Epochs), b.ID, b.Bounds.Earliest, b.Bounds.Next, len(b.Epochs))
	}
	return nil
}
