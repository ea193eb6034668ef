package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/webhook-bridge/bridge/sinks"
)

// maxKept is the greatest number of topics with the position.
const maxKept = 8

// place is a position of the sink as the cluster has it.
type place struct {
	// moves is how often MoveTo has stored a position. A place after more moves is later, also if its position is lower.
	moves uint64
	mark  sinks.Mark
}

func (p place) isAfter(other place) bool {
	if p.moves != other.moves {
		return p.moves > other.moves
	}
	return p.mark.Position > other.mark.Position
}

// storedOffset is an offset of the group.
type storedOffset struct {
	at       topicPartition
	position sinks.Position
	metadata string
}

// latest returns the latest place of the group. The others are older: their partitions did not exist, or were not known to
// the sink, when it was stored. Offsets that an operator's tool has set are not positions.
func (t *Transactional) latest(stored []storedOffset) (log string, reached place, found bool) {
	t.kept = nil
	for _, o := range stored {
		t.kept = append(t.kept, o.at)
		of, p, ok := parsePosition(o)
		if ok && (!found || p.isAfter(reached)) {
			log, reached, found = of, p, true
		}
	}
	return log, reached, found
}

// metadataFormat is that of an offset's metadata: the log, the epoch, and the moves.
const metadataFormat = "log=%s epoch=%x moves=%d"

func parsePosition(o storedOffset) (log string, p place, ok bool) {
	var epoch uint64
	// Without moves there were none. Earlier versions did not count them.
	if n, _ := fmt.Sscanf(o.metadata, metadataFormat, &log, &epoch, &p.moves); n < 2 {
		return "", place{}, false
	}
	p.mark = sinks.Mark{Epoch: sinks.Epoch(epoch), Position: o.position}
	return log, p, true
}

// keepIn stores the position in a topic from now on. There are enough topics after some.
func (t *Transactional) keepIn(topic string) {
	if len(t.kept) < maxKept && !slices.ContainsFunc(t.kept, func(at topicPartition) bool { return at.topic == topic }) {
		t.kept = append(t.kept, topicPartition{topic: topic})
	}
}

// storePosition stores a position in the transaction. It forgets the topics that were deleted.
func (t *Transactional) storePosition(ctx, work context.Context, p sinks.Position, moves uint64) error {
	r := t.origin.Reached(p)
	missing, err := t.producer.commitOffset(ctx, work, t.kept, int64(p), fmt.Sprintf(metadataFormat, r.Log, uint64(r.Mark.Epoch), moves))
	t.kept = slices.DeleteFunc(t.kept, func(at topicPartition) bool { return slices.Contains(missing, at) })
	return err
}
