package web

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/near"
)

// parameters are the parameters of [EventsPath], and how each changes the request.
var parameters = map[string]func(q *query, values []string) error{
	"types":     func(q *query, v []string) error { q.filter().Types = v; return nil },
	"sources":   func(q *query, v []string) error { q.filter().Sources = v; return nil },
	"subjects":  func(q *query, v []string) error { q.filter().Subjects = v; return nil },
	"stale":     once(setStale),
	"cel":       once(func(q *query, v string) error { q.filter().Cel = v; return nil }),
	"payload":   once(setPayload),
	"stop":      once(setStop),
	"from":      once(setFrom),
	"token":     once(setToken),
	"heartbeat": once(setHeartbeat),
	"unnamed":   once(setUnnamed),
}

type query struct {
	request streamv1.TailRequest
	format  format
}

// parseQuery makes a request of a query. The id of the event that a client got last overrides the start: a browser sends it with the same
// address as before.
func parseQuery(raw, lastEventID string, f format) (*streamv1.TailRequest, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errors.New("the query cannot be read")
	}
	q := &query{format: f}
	names := make([]string, 0, len(parameters))
	for name := range parameters {
		names = append(names, name)
	}
	slices.Sort(names)
	for name := range values {
		if parameters[name] == nil {
			return nil, fmt.Errorf("unknown parameter %q%s", cut(name), near.Question(name, names))
		}
	}
	if values.Has("from") && values.Has("token") {
		return nil, errors.New("from and token: give one of them")
	}
	for _, name := range names {
		if v, ok := values[name]; ok {
			if err := parameters[name](q, v); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if lastEventID != "" {
		_ = setToken(q, lastEventID)
	}
	return &q.request, nil
}

// cut shortens what came from outside, for a message.
func cut(s string) string { return s[:min(len(s), 50)] }

func (q *query) filter() *streamv1.Filter {
	if q.request.Filter == nil {
		q.request.Filter = &streamv1.Filter{}
	}
	return q.request.Filter
}

func once(set func(*query, string) error) func(*query, []string) error {
	return func(q *query, values []string) error {
		if len(values) > 1 {
			return fmt.Errorf("is there %d times", len(values))
		}
		return set(q, values[0])
	}
}

func setStale(q *query, v string) error {
	stale, err := parseBool(v)
	q.filter().Stale = &stale
	return err
}

func setFrom(q *query, v string) error {
	switch v {
	case "earliest":
		q.request.Start = &streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}}
	case "latest":
		q.request.Start = &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}
	default:
		at, err := parseTime(v)
		if err != nil {
			return errors.New("must be earliest, latest or a time such as 2026-03-01T12:00:00Z")
		}
		q.request.Start = &streamv1.Start{At: &streamv1.Start_Time{Time: at}}
	}
	return nil
}

// parseTime reads a time. A plus in a query is a blank.
func parseTime(v string) (*timestamppb.Timestamp, error) {
	at, err := time.Parse(time.RFC3339, strings.ReplaceAll(v, " ", "+"))
	return timestamppb.New(at), err
}

// setStop takes what is neither `latest` nor a time for a token, which the server checks.
func setStop(q *query, v string) error {
	q.request.Stop = &streamv1.Stop{At: &streamv1.Stop_Token{Token: v}}
	if v == "latest" {
		q.request.Stop.At = &streamv1.Stop_Latest{Latest: &streamv1.Latest{}}
	} else if at, err := parseTime(v); err == nil {
		q.request.Stop.At = &streamv1.Stop_Time{Time: at}
	}
	return nil
}

var payloads = map[string]streamv1.Payload{
	"canonical": streamv1.Payload_PAYLOAD_CANONICAL,
	"headers":   streamv1.Payload_PAYLOAD_HEADERS,
	"vendor":    streamv1.Payload_PAYLOAD_VENDOR,
	"raw":       streamv1.Payload_PAYLOAD_RAW,
}

func setPayload(q *query, v string) error {
	payload, ok := payloads[v]
	if !ok {
		return errors.New("must be canonical, headers, vendor or raw")
	}
	q.request.Payload = payload
	return nil
}

func setToken(q *query, v string) error {
	q.request.Start = &streamv1.Start{At: &streamv1.Start_Token{Token: v}}
	return nil
}

func setHeartbeat(q *query, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return errors.New("must be a duration such as 10s")
	}
	q.request.HeartbeatInterval = durationpb.New(d)
	return nil
}

func setUnnamed(q *query, v string) error {
	unnamed, err := parseBool(v)
	s, ok := q.format.(*sse)
	if err == nil && !ok {
		return errors.New("is for text/event-stream")
	}
	if ok {
		s.unnamed = unnamed
	}
	return err
}

func parseBool(v string) (bool, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, errors.New("must be true or false")
	}
	return b, nil
}
