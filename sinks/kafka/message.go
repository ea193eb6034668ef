package kafka

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// message is an event as a record, with its topic.
type message struct {
	topic   string
	key     []byte
	value   []byte
	headers []kafkago.Header
	time    time.Time
	size    int // Size in a batch, before compression; an upper bound.
}

func (m *message) record() kafkago.Record {
	return kafkago.Record{Key: kafkago.NewBytes(m.key), Value: kafkago.NewBytes(m.value), Headers: m.headers, Time: m.time}
}

// Key returns the key of the records of a source and subject: both, joined by a slash, such as "returns/shipment/2b20e85f".
// Source names have no slash, so no two pairs share a key. If a name had a slash or a percent sign, it would be escaped as in a
// URL's path.
func Key(source, subject string) string { return escapeSource(source) + "/" + subject }

func escapeSource(source string) string {
	if strings.ContainsAny(source, "/%") {
		return url.PathEscape(source)
	}
	return source
}

// partition returns the partition that Java's default partitioner selects for a key.
func partition(key []byte, partitions []int) int {
	return kafkago.Murmur2Balancer{Consistent: true}.Balance(kafkago.Message{Key: key}, partitions...)
}

// errNoID refuses an event that consumers could not identify, or a record without a header.
var errNoID = errors.New("the event has no id, which CloudEvents demand")

// encoder makes messages from events.
type encoder struct {
	format  Format
	largest int
}

// message returns an event as a message, which shares the event's memory. Its errors are permanent.
func (c encoder) message(r sinks.Record, topic topicTemplate) (message, error) {
	h := &r.Header
	if len(h.ID) == 0 {
		return message{}, errNoID
	}
	name, err := topic.name(h)
	if err != nil {
		return message{}, err
	}
	value, contentType, err := c.value(r)
	if err != nil {
		return message{}, err
	}
	m := message{topic: name, key: []byte(Key(string(h.Source), string(h.Subject))), value: value, time: h.ReceivedAt}
	m.headers = headers(h, contentType)
	m.size = m.measure()
	if m.size > c.largest {
		return message{}, fmt.Errorf("the record has %d bytes, more than %d (max_record_bytes)", m.size, c.largest)
	}
	return m, nil
}

var (
	typeProtobuf    = []byte("application/protobuf")
	typeJSON        = []byte("application/json")
	typeCloudEvents = []byte(cloudevents.ContentType)
)

func (c encoder) value(r sinks.Record) (value, contentType []byte, err error) {
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

// headers returns the headers of CloudEvents' binary mode. The structured format has them too, as its binding allows, so
// consumers can drop duplicates and select events in the same way for every format.
func headers(h *sinks.Header, contentType []byte) []kafkago.Header {
	attributes := cloudevents.Attributes(h)
	to := make([]kafkago.Header, 0, len(attributes)+1)
	for _, a := range attributes {
		to = append(to, kafkago.Header{Key: headerNames.Of(a), Value: a.Value})
	}
	return append(to, kafkago.Header{Key: "content-type", Value: contentType})
}

// measure returns an upper bound of the record's size in a batch: every length field counts as its longest form.
func (m *message) measure() int {
	size := 40 + len(m.key) + len(m.value)
	for _, h := range m.headers {
		size += 10 + len(h.Key) + len(h.Value)
	}
	return size
}
