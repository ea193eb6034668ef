package file

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// Field numbers of bridge.event.v1.Event and LogPosition.
const (
	fieldLogPosition  protowire.Number = 13
	fieldLog          protowire.Number = 1
	fieldEpoch        protowire.Number = 2
	fieldPosition     protowire.Number = 3
	fieldNextPosition protowire.Number = 4
	fieldNextEpoch    protowire.Number = 5
	fieldReplay       protowire.Number = 6
	fieldChecksum     protowire.Number = 7
)

const (
	// checksumSize is the size of the checksum at the end of a record, with its tag.
	checksumSize = 1 + 4
	// largestRecord is the size of the largest record: an event and its position.
	largestRecord = sinks.LargestEvent + 4<<10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// place is an event's place in the log, as its record has it.
type place struct {
	at sinks.Mark
	// next is where the sink goes on after an event that is delivered again. Otherwise it is 0: the sink goes on after at.
	next sinks.Mark
	// replay is the id of the replay that delivers the event again, if one does.
	replay []byte
}

// placeOf returns the place of r's record, and what the sink has reached with it.
func (s *Sink) placeOf(r *sinks.Record, before reached) (place, reached) {
	after := s.from.Log.Mark(r.Position + 1)
	p := place{at: sinks.Mark{Epoch: after.Epoch, Position: r.Position}, replay: r.Header.Replay}
	if before.known && before.Log == s.log && before.Mark.Position > r.Position {
		p.next = before.Mark
		return p, before
	}
	return p, reached{sinks.Reached{Log: s.log, Mark: after}, true}
}

// appendJSON appends the place to a JSON object, as protojson writes it.
func (s *Sink) appendJSON(object []byte, p place) []byte {
	b := object[:len(object)-1]
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(append(b, `"logPosition":{"log":`...), s.quotedLog...)
	b = appendNumber(b, `,"epoch":"`, uint64(p.at.Epoch))
	b = appendNumber(b, `,"position":"`, uint64(p.at.Position))
	if p.next.Position > 0 {
		b = appendNumber(b, `,"nextPosition":"`, uint64(p.next.Position))
		b = appendNumber(b, `,"nextEpoch":"`, uint64(p.next.Epoch))
	}
	if len(p.replay) > 0 {
		b = strconv.AppendQuote(append(b, `,"replay":`...), string(p.replay))
	}
	return append(b, "}}"...)
}

func appendNumber(b []byte, key string, n uint64) []byte {
	return append(strconv.AppendUint(append(b, key...), n, 10), '"')
}

// appendDelimited appends a record: its length, the event, and its place as the last field.
func (s *Sink) appendDelimited(b, event []byte, p place) []byte {
	f := appendFields(s.scratch[:0], s.log, p)
	s.scratch = f
	size := len(f)
	if s.checked() {
		size += checksumSize
	}
	tagged := protowire.SizeTag(fieldLogPosition) + protowire.SizeBytes(size)
	b = binary.AppendUvarint(b, uint64(len(event)+tagged))
	from := len(b)
	b = append(b, event...)
	b = protowire.AppendTag(b, fieldLogPosition, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = append(b, f...)
	if s.checked() {
		sum := crc32.Checksum(b[from:], castagnoli)
		b = protowire.AppendFixed32(protowire.AppendTag(b, fieldChecksum, protowire.Fixed32Type), sum)
	}
	return b
}

// checked reports whether records have a checksum. Frames have one of their own. A line of JSON with zeros is no JSON.
func (s *Sink) checked() bool { return s.config.Format == Protobuf && s.config.Compression == None }

func appendFields(b []byte, log string, p place) []byte {
	b = protowire.AppendString(protowire.AppendTag(b, fieldLog, protowire.BytesType), log)
	b = protowire.AppendFixed64(protowire.AppendTag(b, fieldEpoch, protowire.Fixed64Type), uint64(p.at.Epoch))
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldPosition, protowire.VarintType), uint64(p.at.Position))
	if p.next.Position > 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldNextPosition, protowire.VarintType), uint64(p.next.Position))
		b = protowire.AppendFixed64(protowire.AppendTag(b, fieldNextEpoch, protowire.Fixed64Type), uint64(p.next.Epoch))
	}
	if len(p.replay) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldReplay, protowire.BytesType), p.replay)
	}
	return b
}

// checkRecord behaves like checkFields. It also checks the record's checksum, if it has one.
func checkRecord(b []byte) error {
	if err := checkFields(b); err != nil {
		return err
	}
	var last []byte
	for rest := b; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		value := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if last = nil; number == fieldLogPosition && kind == protowire.BytesType {
			last, _ = protowire.ConsumeBytes(rest[n:])
		}
		rest = rest[n+value:]
	}
	if err := checkFields(last); err != nil {
		return errFields
	}
	at := len(last) - checksumSize
	if at < 0 || last[at] != byte(protowire.EncodeTag(fieldChecksum, protowire.Fixed32Type)) {
		return nil
	}
	if binary.LittleEndian.Uint32(last[at+1:]) != crc32.Checksum(b[:len(b)-checksumSize], castagnoli) {
		return errFields
	}
	return nil
}

// reached is what the sink has reached, if that is known.
type reached struct {
	sinks.Reached
	known bool
}

// reachedBy returns what the sink had reached when it wrote the last record of b, which has whole records.
func (l layout) reachedBy(b []byte) reached {
	e := &eventv1.Event{}
	if l.format == JSONL {
		b = bytes.TrimSuffix(b, []byte("\n"))
		line := b[bytes.LastIndexByte(b, '\n')+1:]
		if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, e) != nil {
			return reached{}
		}
	} else {
		var record []byte
		for len(b) > 0 {
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return reached{}
			}
			record, b = b[n:n+int(length)], b[n+int(length):]
		}
		if proto.Unmarshal(record, e) != nil {
			return reached{}
		}
	}
	return reachedAt(e.GetLogPosition())
}

// reachedAt is unknown for a record of an older version, which has no position.
func reachedAt(p *eventv1.LogPosition) reached {
	if p.GetLog() == "" || p.GetPosition() == 0 {
		return reached{}
	}
	m := sinks.Mark{Epoch: sinks.Epoch(p.GetEpoch()), Position: sinks.Position(p.GetPosition()) + 1}
	if p.GetNextPosition() > 0 {
		m = sinks.Mark{Epoch: sinks.Epoch(p.GetNextEpoch()), Position: sinks.Position(p.GetNextPosition())}
	}
	return reached{sinks.Reached{Log: p.GetLog(), Mark: m}, true}
}
