package nats

import (
	"errors"
	"fmt"
	"net"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// Dial implements [natsgo.CustomDialer].
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.set.Dial(d.ctx, network, address)
}

//nolint:gochecknoglobals // a constant that Go cannot write as such
var headers = cloudevents.NewHeaders("ce-")

// message returns an event as a message. Its errors are permanent.
func (s *Sink) message(r sinks.Record) (*natsgo.Msg, error) {
	subject, err := s.parts.subject.Expand(&r.Header, nil)
	if err == nil {
		err = checkSubject(subject)
	}
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	value, mediaType, err := s.config.Format.Encode(r)
	if err != nil {
		return nil, err
	}
	m := &natsgo.Msg{Subject: subject, Data: value, Header: natsgo.Header{}}
	for _, a := range cloudevents.Attributes(&r.Header) {
		m.Header[headers.Of(a)] = []string{cloudevents.HeaderValue(a.Value)}
	}
	if trace := r.Header.Traceparent; len(trace) > 0 {
		m.Header[cloudevents.Traceparent] = []string{cloudevents.HeaderValue(trace)}
	}
	m.Header["Content-Type"] = []string{mediaType}
	m.Header[jetstream.MsgIDHeader] = []string{s.messageID(&r.Header)}
	if size, most := int64(m.Size()), s.conn.nats.MaxPayload(); size > most {
		return nil, fmt.Errorf("the message has %d bytes, more than the server's max_payload of %d", size, most)
	}
	return m, nil
}

// checkSubject returns an error unless a message can be published to the subject.
func checkSubject(subject string) error {
	if strings.ContainsAny(subject, " \t\r\n\x00*>") {
		return errors.New("has a space or a wildcard")
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return errors.New("has an empty part between its dots")
		}
	}
	return nil
}

// messageID is the id by which a stream knows a message that it has. An operator's replay is no duplicate, nor is what another sink publishes.
func (s *Sink) messageID(h *sinks.Header) string {
	id := cloudevents.HeaderValue(h.ID)
	if s.config.Sink != "" {
		id = s.config.Sink + "/" + id
	}
	if len(h.Replay) > 0 {
		id += "/" + cloudevents.HeaderValue(h.Replay)
	}
	return id
}
