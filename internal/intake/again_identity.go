package intake

import (
	"encoding/binary"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// elementID is the id of a released array's webhook: right behind the array's own, so that it is found by the time at which
// it was received, in the array's order, and kept for as long.
func elementID(array string, number int) (uuid.UUID, error) {
	id, err := uuid.Parse(array)
	if err != nil {
		return id, err
	}
	// Milliseconds, the version, and a counter of 12 bits; then the variant, and what is random.
	head := binary.BigEndian.Uint64(id[:])
	behind := (head>>16<<12 | head&0xfff) + 1
	binary.BigEndian.PutUint64(id[:], behind>>12<<16|7<<12|behind&0xfff)
	binary.BigEndian.PutUint16(id[8:], 0x8000|uint16(number))
	return id, nil
}

// correctionID names a correction by what it supersedes and what it says.
func correctionID(e *eventv1.Event) string {
	// Deterministic within this program, which is enough: what differs from what is published is corrected once, whatever
	// the correction is called.
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(Canonical(e))
	if err != nil {
		content = []byte(err.Error()) // cannot be: the event could not be published either
	}
	b := append([]byte{keyCorrection}, e.GetSupersedes()...)
	return uuid.NewSHA1(namespace, append(append(b, 0), content...)).String()
}

// additionID names an event that was not made before as it would have been named at receipt. Which rule that was shows in
// the events published; where none tells, it is the webhook's id, under which no other webhook's events are named.
func additionID(d *Delivery, k connectors.Key, webhook string, published []*eventv1.Event, index uint32) string {
	id := identify(d, k)
	if id.natural != nil {
		for _, name := range [][]byte{id.natural, id.revised().natural} {
			for i, e := range published {
				if e.GetId() == idOf(name, uint32(i)) {
					return idOf(name, index)
				}
			}
		}
	}
	return idOf([]byte(webhook), index)
}

// idOf is the id that identity.name gives the event at an index.
func idOf(name []byte, index uint32) string {
	return uuid.NewSHA1(namespace, binary.BigEndian.AppendUint32(append([]byte(nil), name...), index)).String()
}

// correctionKey makes the same corrections of a webhook one entry.
func correctionKey(d *Delivery, webhook string, corrections []*eventv1.Event) journal.Hash {
	text := []byte(webhook)
	for _, e := range corrections {
		text = append(append(text, 0), e.GetId()...)
	}
	return hash(scoped(keyCorrection, d, string(text)))
}
