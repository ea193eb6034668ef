package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// message is an event as a record, with its topic.
type message struct {
	topic   string
	key     []byte
	value   []byte // nil for a tombstone.
	headers []kmsg.Header
	time    time.Time
	// position is the event's.
	position sinks.Position
	size     int // Size in a batch, before compression; an upper bound.
}

// timestamp returns the time as a record has it.
func (m *message) timestamp() int64 { return m.time.UnixMilli() }

// partition returns the partition that Java's default partitioner selects for a key.
func partition(key []byte, partitions []int) int {
	return kafkago.Murmur2Balancer{Consistent: true}.Balance(kafkago.Message{Key: key}, partitions...)
}

// errNoID refuses an event that consumers could not identify, or a record without a header.
var errNoID = errors.New("the event has no id, which CloudEvents demand")

// encoder makes messages from events.
type encoder struct {
	topic      topicTemplate
	key        keyTemplate
	format     Format
	tombstones bool
	largest    int
	registry   *framer // nil without a schema registry.
	reserve    int     // Bytes of each batch for a header that is added later.
}

// maxHeaders is the greatest number of headers of a message.
const maxHeaders = cloudevents.MaxAttributes + 2

// message returns an event as a message, which shares the event's memory. Its headers are appended to room. An error about the event is permanent; one of the schema
// registry is not.
func (c *encoder) message(ctx context.Context, r sinks.Record, room []kmsg.Header) (message, error) {
	m, err := c.describe(&r.Header)
	if err != nil {
		return message{}, sinks.Permanent(err)
	}
	var contentType []byte
	if !c.tombstones || !deletes(&r.Header) {
		if m.value, contentType, err = c.value(r); err != nil {
			return message{}, sinks.Permanent(err)
		}
		if c.registry != nil {
			if m.value, err = c.registry.frame(ctx, m.topic, m.value); err != nil {
				return message{}, err
			}
		}
	}
	m.headers = headers(room, &r.Header, contentType)
	m.size, m.position = m.measure(), r.Position
	if size := m.size + c.reserve; size > c.largest {
		return message{}, sinks.Permanent(fmt.Errorf("the record has %d bytes, more than %d (max_record_bytes)", size, c.largest))
	}
	return m, nil
}

// describe returns the message of an event without its value and headers.
func (c *encoder) describe(h *sinks.Header) (message, error) {
	if len(h.ID) == 0 {
		return message{}, errNoID
	}
	topic, err := c.topic.name(h)
	if err != nil {
		return message{}, err
	}
	key, err := c.key.of(h)
	return message{topic: topic, key: []byte(key), time: h.ReceivedAt}, err
}

var (
	typeProtobuf    = []byte("application/protobuf")
	typeJSON        = []byte("application/json")
	typeCloudEvents = []byte(cloudevents.ContentType)
)

func (c *encoder) value(r sinks.Record) (value, contentType []byte, err error) {
	switch c.format {
	case FormatJSON:
		value, err = eventJSON(r)
		return value, typeJSON, err
	case FormatCloudEvents:
		value, err = cloudevents.Structured(r)
		return value, typeCloudEvents, err
	default:
		return r.Encoded, typeProtobuf, nil
	}
}

func eventJSON(r sinks.Record) ([]byte, error) {
	e, err := r.Event()
	if err != nil {
		return nil, err
	}
	return cloudevents.JSON(e)
}

var headerNames = cloudevents.NewHeaders("ce_")

// headers appends the headers of CloudEvents' binary mode. The structured format has them too, as its binding allows, so
// consumers can drop duplicates and select events in the same way for every format. A tombstone has no content type.
func headers(to []kmsg.Header, h *sinks.Header, contentType []byte) []kmsg.Header {
	var room [cloudevents.MaxAttributes]cloudevents.Attribute
	for _, a := range cloudevents.AppendAttributes(room[:0], h) {
		to = append(to, kmsg.Header{Key: headerNames.Of(a), Value: a.Value})
	}
	if len(h.Traceparent) > 0 { // Under the name by which instrumented consumers find it, too.
		to = append(to, kmsg.Header{Key: cloudevents.Traceparent, Value: h.Traceparent})
	}
	if contentType == nil {
		return to
	}
	return append(to, kmsg.Header{Key: "content-type", Value: contentType})
}

// measure returns an upper bound of the record's size in a batch: every length field counts as its longest form.
func (m *message) measure() int {
	size := 40 + len(m.key) + len(m.value)
	for _, h := range m.headers {
		size += 10 + len(h.Key) + len(h.Value)
	}
	return size
}
