package groups

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/webhook-bridge/bridge/sinks"
)

// ErrID means that an id is not one that a group of this name gave out.
var ErrID = errors.New("groups: the id names no delivery of this group")

// idVersion is the first byte of each id.
const idVersion = 1

// deliveryID names a delivery. The text form is opaque to clients and has at most 64 characters.
type deliveryID struct {
	share   uint8
	epoch   uint64
	attempt uint32
	// position is the event's, and round the number of the replay. It is 0 for an event that is not parked.
	position sinks.Position
	round    uint64
	// member is a hash of the member's id, and seq the delivery's number among the member's.
	member uint32
	seq    uint64
	// salt tells the event from another one at the same position, in a log that was restored from an older backup.
	salt uint32
}

// saltOf returns the salt of an event that is in the log.
func saltOf(log sinks.Log, p sinks.Position) uint32 {
	return uint32(mix(uint64(log.Mark(p+1).Epoch)) >> 32)
}

var idText = base64.RawURLEncoding.Strict()

// text returns the id as clients get it.
func (d deliveryID) text(group string) string {
	b := make([]byte, 0, 52)
	b = append(b, idVersion, d.share)
	b = binary.AppendUvarint(b, d.epoch)
	b = binary.AppendUvarint(b, uint64(d.attempt))
	b = binary.AppendUvarint(b, uint64(d.position))
	b = binary.AppendUvarint(b, d.round)
	b = binary.BigEndian.AppendUint32(b, d.member)
	b = binary.AppendUvarint(b, d.seq)
	b = binary.BigEndian.AppendUint32(b, d.salt)
	b = binary.BigEndian.AppendUint32(b, idSum(group, b))
	return idText.EncodeToString(b)
}

// idSum finds ids that were cut, mixed up, or belong to another group. It is no secret: who may acknowledge for a group is decided before.
func idSum(group string, b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(group)), crc32.IEEETable, b)
}

// parseID reads an id. Errors: ErrID.
func parseID(group, text string) (deliveryID, error) {
	if len(text) > 80 {
		return deliveryID{}, ErrID
	}
	b, err := idText.DecodeString(text)
	if err != nil || len(b) < 6 || b[0] != idVersion {
		return deliveryID{}, ErrID
	}
	body := b[:len(b)-4]
	if binary.BigEndian.Uint32(b[len(body):]) != idSum(group, body) {
		return deliveryID{}, ErrID
	}
	r := idReader{rest: body[2:]}
	d := deliveryID{share: b[1], epoch: r.uvarint()}
	d.attempt = uint32(r.uvarint()) // A greater number is found by the comparison below.
	d.position, d.round = sinks.Position(r.uvarint()), r.uvarint()
	d.member, d.seq, d.salt = r.uint32(), r.uvarint(), r.uint32()
	if r.bad || len(r.rest) > 0 || d.text(group) != text {
		return deliveryID{}, ErrID
	}
	return d, nil
}

// idReader reads the parts of an id.
type idReader struct {
	rest []byte
	bad  bool
}

func (r *idReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *idReader) uint32() uint32 {
	if len(r.rest) < 4 {
		r.bad = true
		return 0
	}
	v := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return v
}
