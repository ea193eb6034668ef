package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/webhook-bridge/bridge/sinks"
)

// maxKept is the greatest number of topics with the position.
const maxKept = 8

// storedOffset is an offset of the group.
type storedOffset struct {
	at       topicPartition
	position sinks.Position
	metadata string
}

// greatest returns the greatest position of the group. The others are older: their partitions did not exist, or were not known to
// the sink, when it was stored. Offsets that an operator's tool has set are not positions.
func (t *Transactional) greatest(stored []storedOffset) (reached sinks.Reached, found bool) {
	t.kept = nil
	for _, o := range stored {
		t.kept = append(t.kept, o.at)
		r, ok := parsePosition(o)
		if ok && (!found || r.Mark.Position > reached.Mark.Position) {
			reached, found = r, true
		}
	}
	return reached, found
}

const metadataFormat = "log=%s epoch=%x"

func parsePosition(o storedOffset) (r sinks.Reached, ok bool) {
	var epoch uint64
	if n, err := fmt.Sscanf(o.metadata, metadataFormat, &r.Log, &epoch); n != 2 || err != nil {
		return r, false
	}
	r.Mark = sinks.Mark{Epoch: sinks.Epoch(epoch), Position: o.position}
	return r, true
}

// keepIn stores the position in a topic from now on. There are enough topics after some.
func (t *Transactional) keepIn(topic string) {
	if len(t.kept) < maxKept && !slices.ContainsFunc(t.kept, func(at topicPartition) bool { return at.topic == topic }) {
		t.kept = append(t.kept, topicPartition{topic: topic})
	}
}

// storePosition stores a position in the transaction. It forgets the topics that were deleted.
func (t *Transactional) storePosition(ctx, work context.Context, p sinks.Position) error {
	r := t.origin.Reached(p)
	missing, err := t.producer.commitOffset(ctx, work, t.kept, int64(p), fmt.Sprintf(metadataFormat, r.Log, uint64(r.Mark.Epoch)))
	t.kept = slices.DeleteFunc(t.kept, func(at topicPartition) bool { return slices.Contains(missing, at) })
	return err
}
