package pebble

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// prefixGap is the prefix of gaps: reader, NUL, first position → bridge.journal.v1.Gap.
const prefixGap = 'g'

// recordGap records a gap by the rules of [letters.AddGap]. The caller holds the reader's writing.
func (j *Journal) recordGap(name string, from, to sinks.Position) (added uint64, err error) {
	err = j.update("record gap", func(st *store, b *pebble.Batch) error {
		known, err := st.gaps(name)
		if err != nil {
			return err
		}
		now := timestamppb.New(j.cfg.Now())
		gap := &journalv1.Gap{Sink: name, From: uint64(from), To: uint64(to), FirstAt: now, LastAt: now}
		var replaced []*journalv1.Gap
		replaced, added = letters.AddGap(gap, known)
		return replaceGaps(b, replaced, gap)
	})
	return added, err
}

// Gaps implements [journal.DeadLetters].
func (j *Journal) Gaps(ctx context.Context, name string) (all []*journalv1.Gap, err error) {
	err = j.view(ctx, func(st *store) (err error) {
		all, err = st.gaps(name)
		return err
	})
	return all, err
}

func replaceGaps(b *pebble.Batch, old []*journalv1.Gap, gap *journalv1.Gap) error {
	var errs []error
	for _, g := range old {
		errs = append(errs, b.Delete(readerKey(prefixGap, g.GetSink(), sinks.Position(g.GetFrom())), nil))
	}
	errs = append(errs, setMessage(b, readerKey(prefixGap, gap.GetSink(), sinks.Position(gap.GetFrom())), gap))
	return errors.Join(errs...)
}

func (s *store) gaps(name string) (all []*journalv1.Gap, err error) {
	lower, upper := readerKeys(prefixGap, name)
	err = s.eachKey(lower, upper, func(_, v []byte) (bool, error) {
		g := new(journalv1.Gap)
		all = append(all, g)
		return true, proto.Unmarshal(v, g)
	})
	return all, err
}
