package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// defaultList is how many webhooks a list has unless asked otherwise.
	defaultList = 50
	// maxShown is the largest body, in bytes, that is also shown as text and as a message. A larger one is shown only raw.
	maxShown = 16 << 20
	// maxEvents is how much of a webhook's events is shown, in bytes.
	maxEvents = 16 << 20
)

// ListWebhooks implements [adminv1.AdminServiceServer].
func (s *Server) ListWebhooks(ctx context.Context, r *adminv1.ListWebhooksRequest) (*adminv1.ListWebhooksResponse, error) {
	return call(ctx, s, r, s.listWebhooks)
}

func (s *Server) listWebhooks(ctx context.Context, r *adminv1.ListWebhooksRequest) (*adminv1.ListWebhooksResponse, error) {
	if r.GetFilter().GetSubject() != "" {
		return s.listSubject(ctx, r)
	}
	q, err := s.query(r.GetFilter())
	if err != nil {
		return nil, err
	}
	q.Backwards, q.Limit, q.Deadline = true, sizeOf(r.GetPageSize(), defaultList), time.Now().Add(s.patienceOf(r.GetPatienceMs()))
	if err := resume(&q, r.GetPageToken()); err != nil {
		return nil, err
	}
	page, err := s.journal.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	a := &adminv1.ListWebhooksResponse{NextPageToken: newToken(page.Next), Examined: uint64(page.Examined), ExaminedTo: timeOfID(page.Next)}
	for _, w := range page.Webhooks {
		a.Webhooks = append(a.Webhooks, s.short(w))
	}
	return a, s.checkSource(r.GetFilter(), r.GetPageToken(), len(a.GetWebhooks()), a.GetNextPageToken())
}

// timeOfID returns the time in a webhook's id, or nil.
func timeOfID(id string) *timestamppb.Timestamp {
	u, err := uuid.Parse(id)
	if err != nil {
		return nil
	}
	seconds, nanos := u.Time().UnixTime()
	return &timestamppb.Timestamp{Seconds: seconds, Nanos: int32(nanos)}
}

// short is a stored webhook without what is in it.
func (s *Server) short(w *journalv1.Webhook) *adminv1.Webhook {
	v := &adminv1.Webhook{
		Id:          w.GetId(),
		Source:      w.GetSource(),
		Connector:   w.GetConnector(),
		VendorEvent: w.GetVendorEvent(),
		ReceivedAt:  w.GetReceivedAt(),
		Outcome:     s.outcome(w),
		EventCount:  w.GetEventCount(),
		BodySize:    uint64(len(w.GetBody())),
		DriftCount:  uint32(len(w.GetDrift())),
		ReleasedAt:  w.GetReleasedAt(),
		Ping:        w.GetPing(),
	}
	if q := w.GetQuarantine(); q != nil {
		v.Fault = faultOf(&intake.Fault{
			Reason: intake.Reason(q.GetReason()), Problem: q.GetDetail(), Path: q.GetPath(), Offset: q.GetOffset(),
		})
	}
	return v
}

func faultOf(f *intake.Fault) *adminv1.Fault {
	if f == nil {
		return nil
	}
	return &adminv1.Fault{Reason: string(f.Reason), Problem: quoteless(f.Problem), Path: mask.Path(f.Path), Offset: f.Offset}
}

// quoted matches the quotes in a problem's text, which may come from a body. A quote that was cut has no end, and may have half
// an escape. The first alternative is no quote: it is the decoder's text for a quotation mark in the wrong place.
var quoted = regexp.MustCompile(`(?s)has '"' where |"(?:[^"\\]|\\.)*(?:"|\\?$)`)

// quoteless shows a problem's quotes by their shape.
func quoteless(problem string) string {
	return quoted.ReplaceAllStringFunc(problem, func(q string) string {
		if q[0] != '"' {
			return q
		}
		return mask.Shape([]byte(q))
	})
}

// GetWebhook implements [adminv1.AdminServiceServer].
func (s *Server) GetWebhook(ctx context.Context, r *adminv1.GetWebhookRequest) (*adminv1.GetWebhookResponse, error) {
	return call(ctx, s, r, s.webhook)
}

func (s *Server) webhook(ctx context.Context, r *adminv1.GetWebhookRequest) (*adminv1.GetWebhookResponse, error) {
	w, err := s.journal.Webhook(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	a := &adminv1.GetWebhookResponse{
		Webhook: s.short(w), Encoding: encodingName(w.GetEncoding()), Headers: s.headers(w, r.GetReveal()), BodyOffset: -1,
		Repair: repairOf(w, r.GetReveal()),
	}
	for _, d := range w.GetDrift() {
		a.Drift = append(a.Drift, &adminv1.DriftField{
			Connector:   w.GetConnector(),
			VendorEvent: w.GetVendorEvent(),
			Kind:        kindName(d.GetKind()),
			Field:       mask.Path(d.GetPath()),
			Sample:      mask.Shape(d.GetSample()),
			WebhookId:   w.GetId(),
		})
	}
	s.showBody(a, w, r.GetReveal())
	if a.Events, err = s.showEvents(ctx, w, r.GetReveal()); err != nil {
		return nil, err
	}
	if r.GetReveal() {
		a.RawBody = w.GetBody()
		s.log.Info("webhook revealed", "by", caller(ctx), "webhook", w.GetId(), "source", w.GetSource())
	}
	return a, nil
}

// headers returns the stored headers. The values of headers that an operator has configured, and whose meaning is unknown, are
// masked.
func (s *Server) headers(w *journalv1.Webhook, reveal bool) []*adminv1.Header {
	known := []string{"content-type", "user-agent"}
	if src, fault := s.source(w); fault == nil {
		known = append(known, strings.ToLower(src.Connector.EventHeader), strings.ToLower(src.Connector.KeyHeader))
	}
	var all []*adminv1.Header
	for _, h := range w.GetHeaders() {
		value := h.GetValue()
		if !reveal && !slices.Contains(known, h.GetName()) {
			value = mask.Shape([]byte(value))
		}
		all = append(all, &adminv1.Header{Name: h.GetName(), Value: value})
	}
	return all
}

// showBody shows the body as text and, if today's connector can read it, as the vendor's message.
func (s *Server) showBody(a *adminv1.GetWebhookResponse, w *journalv1.Webhook, reveal bool) {
	if len(w.GetBody()) > maxShown {
		return
	}
	var decoded intake.Reading
	var declared protoreflect.MessageDescriptor
	if src, fault := s.source(w); fault == nil {
		decoded = src.Read(src.Redelivery(w, ""))
		if e, known := src.Event(decoded.Event); known {
			declared = e.Method.Input()
		}
	}
	switch w.GetEncoding() {
	case journalv1.Encoding_ENCODING_JSON, journalv1.Encoding_ENCODING_FORM:
		a.Body = bodyText(w.GetBody(), decoded.Document, declared, reveal)
		a.BodyOffset = bodyOffset(w, decoded.Document, declared, reveal)
	case journalv1.Encoding_ENCODING_RAW:
		if decoded.Document != nil { // today it can be decoded
			a.Body = bodyText(decoded.Document, decoded.Document, declared, reveal)
		}
	default:
	}
	if m := decoded.Message; m != nil {
		a.MessageType = string(m.ProtoReflect().Descriptor().FullName())
		if !reveal {
			m = mask.Message(m)
		}
		a.Message = jsonText(m)
	}
}

// bodyText is a body as it may be shown: as it came, or the masked document in it.
func bodyText(body, document []byte, declared protoreflect.MessageDescriptor, reveal bool) string {
	if reveal {
		if !utf8.Valid(body) {
			return ""
		}
		return string(body)
	}
	if document == nil {
		document, declared = body, nil
	}
	return string(mask.JSON(document, declared))
}

// bodyOffset is where in its shown body a webhook's problem is, or -1. The masked text of a body's beginning is the beginning of its masked text.
func bodyOffset(w *journalv1.Webhook, document []byte, declared protoreflect.MessageDescriptor, reveal bool) int64 {
	q, isForm := w.GetQuarantine(), w.GetEncoding() == journalv1.Encoding_ENCODING_FORM
	if document == nil {
		document, declared = w.GetBody(), nil
	}
	at := q.GetOffset()
	switch {
	case q == nil, w.GetRepair() != nil, at < 0, at > int64(len(document)), isForm && (reveal || len(document) == len(w.GetBody())):
		return -1 // The offset of a form's problem is in its JSON.
	case reveal:
		return at
	}
	return int64(len(mask.JSON(document[:at], declared)))
}

// jsonText is a message as protobuf's JSON.
func jsonText(m proto.Message) string {
	text, err := protojson.Marshal(m)
	if err != nil {
		return ""
	}
	return compact(text)
}

// compact takes out the spaces, which protojson varies from build to build.
func compact(text []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return ""
	}
	return b.String()
}

// showEvents shows what was published of a webhook and is still kept.
func (s *Server) showEvents(ctx context.Context, w *journalv1.Webhook, reveal bool) ([]*adminv1.PublishedEvent, error) {
	places, err := s.repair.Places(ctx, w)
	if err != nil {
		return nil, err
	}
	readers, err := s.journal.Readers(ctx)
	if err != nil {
		return nil, err
	}
	var shown []*adminv1.PublishedEvent
	size := 0
	for _, p := range places {
		e, err := s.journal.EventAt(ctx, p.Position)
		if errors.Is(err, sinks.ErrExpired) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if size += proto.Size(e); size > maxEvents {
			break
		}
		published := &adminv1.PublishedEvent{Event: e, Position: uint64(p.Position)}
		if len(shown) < maxDeliveries {
			if published.Deliveries, err = s.deliveries(ctx, readers, p.Position, e); err != nil {
				return nil, err
			}
		}
		if !reveal {
			published.Event = mask.Message(e).(*eventv1.Event)
		}
		shown = append(shown, published)
	}
	return shown, nil
}

func encodingName(e journalv1.Encoding) string {
	switch e {
	case journalv1.Encoding_ENCODING_JSON:
		return "json"
	case journalv1.Encoding_ENCODING_FORM:
		return "form"
	case journalv1.Encoding_ENCODING_PROTOBUF:
		return "protobuf"
	case journalv1.Encoding_ENCODING_RAW:
		return "raw"
	default:
		return ""
	}
}
