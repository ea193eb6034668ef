package admin

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// patienceOf is how long a list may take.
func (s *Server) patienceOf(ms uint32) time.Duration {
	if ms == 0 {
		return s.patience
	}
	return min(time.Duration(ms)*time.Millisecond, s.patience)
}

// subjectChunk is how many events are read at once to find a subject's.
const subjectChunk = 256

// subjectSearch goes back through the log for the webhooks whose events are about a subject.
type subjectSearch struct {
	*Server

	subject, source string
	match           journal.Query
	size            int
	deadline        time.Time
	seen            map[string]bool
	answer          *adminv1.ListWebhooksResponse
	// at is the position of the last event that was looked at, and reached when it was received.
	at      sinks.Position
	reached time.Time
}

// listSubject lists webhooks with events about a subject, those of the latest events first.
func (s *Server) listSubject(ctx context.Context, r *adminv1.ListWebhooksRequest) (*adminv1.ListWebhooksResponse, error) {
	f := proto.CloneOf(r.GetFilter())
	f.Subject = "" // which is looked for here
	q, err := s.query(f)
	if err != nil {
		return nil, err
	}
	x := &subjectSearch{
		Server: s, subject: r.GetFilter().GetSubject(), source: f.GetSource(), match: q, size: sizeOf(r.GetPageSize(), defaultList),
		deadline: time.Now().Add(s.patienceOf(r.GetPatienceMs())), seen: map[string]bool{}, answer: &adminv1.ListWebhooksResponse{},
	}
	bounds := s.journal.Bounds()
	first, end := bounds.Earliest, bounds.Next
	if r.GetPageToken() != "" {
		if end, err = parseSubjectToken(r.GetPageToken()); err != nil {
			return nil, err
		}
		end = min(end, bounds.Next)
	}
	// An event is committed after its webhook was received.
	if since := f.GetSince(); since != nil {
		at, err := s.journal.Seek(ctx, since.AsTime())
		if err != nil {
			return nil, err
		}
		first = max(first, at)
	}
	if err := x.back(ctx, first, end); err != nil {
		return nil, err
	}
	if x.at > first {
		x.answer.NextPageToken = subjectToken(x.at)
		if !x.reached.IsZero() {
			x.answer.ExaminedTo = timestamppb.New(x.reached)
		}
	}
	return x.answer, s.checkSource(f, r.GetPageToken(), len(x.answer.GetWebhooks()), x.answer.GetNextPageToken())
}

// back looks at the events from end down to first, chunk by chunk, until the page is full or has needed long.
func (x *subjectSearch) back(ctx context.Context, first, end sinks.Position) error {
	x.at = end
	buffer := make([]sinks.Record, 0, subjectChunk)
	for x.at > first {
		from := max(first, x.at-min(x.at, subjectChunk))
		records, err := x.chunk(ctx, from, x.at, buffer)
		if err != nil {
			return err
		}
		for i := len(records) - 1; i >= 0; i-- {
			h := &records[i].Header
			x.answer.Examined++
			if string(h.Subject) == x.subject && (x.source == "" || string(h.Source) == x.source) {
				if err := x.add(ctx, string(h.WebhookID)); err != nil {
					return err
				}
			}
			x.at, x.reached = records[i].Position, h.ReceivedAt
			if len(x.answer.GetWebhooks()) >= x.size {
				return nil
			}
		}
		if len(records) == 0 {
			x.at = from // retention has removed them, or they were lost
		}
		if !time.Now().Before(x.deadline) {
			return nil
		}
	}
	return nil
}

// chunk reads the events from one position up to another, which is excluded.
func (x *subjectSearch) chunk(ctx context.Context, from, to sinks.Position, buffer []sinks.Record) ([]sinks.Record, error) {
	records := buffer[:0]
	for from < to {
		read, err := x.journal.Read(ctx, from, records[len(records):len(records):cap(records)])
		switch {
		case errors.Is(err, sinks.ErrExpired):
			from = x.journal.Bounds().Earliest
			if lost := (*sinks.LostError)(nil); errors.As(err, &lost) {
				from = lost.To
			}
			continue
		case err != nil:
			return nil, err
		case len(read) == 0:
			return records, nil
		}
		for _, r := range read {
			if r.Position >= to {
				return records, nil
			}
			records = append(records, r)
		}
		from = records[len(records)-1].Position + 1
	}
	return records, nil
}

// add adds a webhook to the page, if the rest of the filter selects it.
func (x *subjectSearch) add(ctx context.Context, id string) error {
	if x.seen[id] {
		return nil
	}
	x.seen[id] = true
	w, err := x.journal.Webhook(ctx, id)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return nil // retention keeps it for a shorter time
	case err != nil:
		return err
	}
	if x.match.Match(w) {
		x.answer.Webhooks = append(x.answer.Webhooks, x.short(w))
	}
	return nil
}

// subjectTokenVersion is the first byte of a page token of a search for a subject. A position follows.
const subjectTokenVersion = 3

func subjectToken(p sinks.Position) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{subjectTokenVersion}, uint64(p)))
}

func parseSubjectToken(token string) (sinks.Position, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 9 || b[0] != subjectTokenVersion {
		return 0, invalid(errors.New("page_token is none that this server gave out for a subject"))
	}
	return sinks.Position(binary.BigEndian.Uint64(b[1:])), nil
}
