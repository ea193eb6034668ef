package intake

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // of version 5 UUIDs
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// namespace of the events' ids. It must never change: consumers know facts by these ids.
var namespace = uuid.MustParse("5d1d9f2c-6c0e-4b69-9d0f-0c3c2d6a7e11")

// Kinds of key and of name. They are hashed with what follows, so that none equals one of another kind.
const (
	kindNatural    = 'n' // natural keys, and delivery ids
	kindBody       = 'b'
	kindQuarantine = 'q'
	kindReleased   = 's'
	kindCorrection = 'c'
	kindMeaning    = 'm'
	kindVersion    = 'v'
	kindPing       = 'p'
	// kindRevision is the kind of key under which versions before 2 of the journal's format recorded a revision. A folder of
	// such a version may hold one until [NaturalWindow] after its upgrade; then this kind can go.
	kindRevision = 'r'
)

// scope is where keys count: a source and one of its events.
type scope struct{ source, event string }

// appendKey appends a key's text, unambiguously.
func (s scope) appendKey(b []byte, kind byte, key string) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.source)))
	b = append(b, s.source...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.event)))
	b = append(b, s.event...)
	return append(b, key...)
}

func (s scope) key(kind byte, key string, window time.Duration) journal.Key {
	var memory [256]byte
	return journal.Key{Hash: digest(s.appendKey(memory[:0], kind, key)), Window: window}
}

func digest(b []byte) journal.Hash {
	sum := sha256.Sum256(b)
	return journal.Hash(sum[:len(journal.Hash{})])
}

// identify sets the keys of a draft that has events, and returns the name that its events' ids are made of. content is the
// digest of the events' canonical encodings.
func (d *Draft) identify(delivery *Delivery, t connectors.Translation, content journal.Hash, name []byte) []byte {
	deliveryKey, hasDelivery := DeliveryKey(d.source.Connector, delivery.Headers, delivery.Element)
	d.keys = d.keyMemory[:0]
	// The first natural key names the events.
	first := d.addNatural("", t.Key)
	for _, k := range t.Also {
		first = d.addNatural(first, k)
	}
	switch {
	case first != "":
		if hasDelivery {
			d.addNatural(first, deliveryKey)
		}
		var memory [256]byte
		old := append(d.scope.appendKey(append(memory[:0], kindRevision), kindNatural, first), d.entry.Bytes[:]...)
		d.keys = append(d.keys, journal.Key{Hash: digest(old), Window: NaturalWindow, LookupOnly: true})
	case hasDelivery:
		first = d.addNatural("", deliveryKey)
	default:
		d.keys = append(d.keys, d.ownKey(delivery, kindBody, string(d.entry.Bytes[:])))
		return append(name, d.entry.Webhook.GetId()...)
	}
	return append(d.scope.appendKey(append(name, kindMeaning), kindNatural, first), content[:]...)
}

// addNatural adds a key if it is natural, and returns first, or the key's text if first is empty.
func (d *Draft) addNatural(first string, k connectors.Key) string {
	text, ok := k.Natural()
	if ok {
		d.keys = append(d.keys, d.scope.key(kindNatural, text, NaturalWindow))
	}
	return cmp.Or(first, text)
}

// identifyQuarantined sets the key of a draft that has a fault. The delivery's id tells those with the same body apart.
func (d *Draft) identifyQuarantined(delivery *Delivery) {
	key, _ := DeliveryKey(d.source.Connector, delivery.Headers, delivery.Element)
	parts, _ := key.Natural()
	d.keys = append(d.keyMemory[:0], d.ownKey(delivery, kindQuarantine, parts+string(d.entry.Bytes[:])))
}

// ownKey is the key of a webhook that no key of the vendor's tells apart: its content. A stored webhook was kept apart, so it
// equals no other that was received before or since.
func (d *Draft) ownKey(delivery *Delivery, kind byte, content string) journal.Key {
	if w := delivery.Stored; w != nil {
		kind, content = kindReleased, w.GetId()
		if delivery.Element > 0 && w.GetElement() == 0 {
			content += "[" + strconv.Itoa(delivery.Element-1) + "]"
		}
	}
	return d.scope.key(kind, content, d.source.Window)
}

// idLength is the length of an id's text.
const idLength = 36

// putEventID writes the id of the event at an index: a UUID of version 5 over a name that begins with the namespace.
func putEventID(text []byte, name []byte, index uint32) {
	putNameID(text, binary.BigEndian.AppendUint32(name, index))
}

func putNameID(text []byte, name []byte) {
	sum := sha1.Sum(name) //nolint:gosec // the version demands SHA-1; nothing rests on its strength
	sum[6] = sum[6]&0x0f | 5<<4
	sum[8] = sum[8]&0x3f | 0x80
	hex.Encode(text[0:8], sum[0:4])
	hex.Encode(text[9:13], sum[4:6])
	hex.Encode(text[14:18], sum[6:8])
	hex.Encode(text[19:23], sum[8:10])
	hex.Encode(text[24:36], sum[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
}

// elementID is the id of a released array's webhook: right behind the array's own, so that it is found by the time at which
// it was received, in the array's order, and kept for as long.
func elementID(id uuid.UUID, number int) uuid.UUID {
	// Milliseconds, the version, and a counter of 12 bits; then the variant, and random bits.
	head := binary.BigEndian.Uint64(id[:])
	behind := (head>>16<<12 | head&0xfff) + 1
	binary.BigEndian.PutUint64(id[:], behind>>12<<16|7<<12|behind&0xfff)
	binary.BigEndian.PutUint16(id[8:], 0x8000|uint16(number))
	return id
}
