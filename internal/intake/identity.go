package intake

import (
	"crypto/sha1" //nolint:gosec // of version 5 UUIDs
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// namespace of the ids of events with a natural key. It must never change: consumers know facts by these ids.
var namespace = uuid.MustParse("5d1d9f2c-6c0e-4b69-9d0f-0c3c2d6a7e11")

// Kinds of key, hashed into it so that none is ever taken for one of another kind.
const (
	keyNatural    = 'n'
	keyBody       = 'b'
	keyQuarantine = 'q'
	keyRevision   = 'r'
	keyReleased   = 's'
	keyCorrection = 'c'
)

// identity is what makes a webhook the same as another, and names its events.
type identity struct {
	key, body journal.Hash
	window    time.Duration
	// natural is the name that event ids are made of; nil if they are made of the webhook's id.
	natural []byte
}

// identify returns the identity of a webhook under the vendor's own id of it, if it came with one, else the connector's key.
func identify(d *Delivery, k connectors.Key) identity {
	if key, ok := headerKey(d); ok {
		k = key
	}
	id := identity{body: hash(d.Body), window: d.Source.Window}
	parts, ok := k.Natural()
	if !ok {
		id.key = d.ownKey(keyBody, string(id.body[:]))
		return id
	}
	natural := scoped(keyNatural, d, parts)
	id.natural = append(natural, id.body[:]...)
	id.key, id.window = hash(natural), NaturalWindow
	return id
}

// identifyQuarantined returns the identity of a webhook that could not be understood. The vendor's own id of it, if it came
// with one, keeps apart those with the same body.
func identifyQuarantined(d *Delivery) identity {
	body := hash(d.Body)
	key, _ := headerKey(d)
	parts, _ := key.Natural()
	return identity{key: d.ownKey(keyQuarantine, parts+string(body[:])), body: body, window: d.Source.Window}
}

// ownKey is the key of a webhook that none of the vendor's tells from others: it is the same as those with that content.
// One that was kept before is the same as no other, received before or since.
func (d *Delivery) ownKey(kind byte, content string) journal.Hash {
	if d.stored != "" {
		return hash(scoped(keyReleased, d, d.stored))
	}
	return hash(scoped(kind, d, content))
}

// revised is the identity of a webhook whose natural key is taken by another body. It is stable too: a redelivery of the
// revision is its duplicate.
func (id identity) revised() identity {
	id.natural = slices.Concat([]byte{keyRevision}, id.natural, id.body[:])
	id.key = hash(id.natural)
	return id
}

// name gives the events their ids: UUIDs of version 5.
func (id identity) name(events []*eventv1.Event, webhook string) {
	name := make([]byte, 0, len(namespace)+max(len(id.natural), len(webhook))+4)
	name = append(name, namespace[:]...)
	if id.natural != nil {
		name = append(name, id.natural...)
	} else {
		name = append(name, webhook...)
	}
	prefix := len(name)
	for i, e := range events {
		name = binary.BigEndian.AppendUint32(name[:prefix], uint32(i))
		sum := sha1.Sum(name) //nolint:gosec // the version demands SHA-1; nothing rests on its strength
		u := uuid.UUID(sum[:16])
		u[6] = u[6]&0x0f | 5<<4
		u[8] = u[8]&0x3f | 0x80
		e.Id = u.String()
	}
}

// scoped puts a key into its source and event, unambiguously.
func scoped(kind byte, d *Delivery, key string) []byte {
	source := d.Source.Name
	b := make([]byte, 0, 9+len(source)+len(d.Event)+len(key)+sha256.Size)
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(source)))
	b = append(b, source...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Event)))
	b = append(b, d.Event...)
	return append(b, key...)
}

func hash(b []byte) journal.Hash {
	sum := sha256.Sum256(b)
	return journal.Hash(sum[:len(journal.Hash{})])
}
