package ingress

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// alwaysKept are headers that tell what a body is and who sent it.
var alwaysKept = []string{"Content-Type", "User-Agent"}

// endpoint is a source at the edge, with all that can be prepared.
type endpoint struct {
	source.Source

	// decides says which headers may say how a body is read.
	decides  source.Decides
	gateway  *gateway
	intake   *intake.Source
	verifier verifier
	limits   *limits

	bodies, unverified, decoding *budget

	answer   success
	keep     []keptHeader
	lastKept atomic.Pointer[keptHeaders]
	// handshakesPost: the connector has a handshake that is a POST.
	handshakesPost bool
	// secrets are the source's, for any scheme.
	secrets    secret.Digests
	handshakes prometheus.Counter

	received prometheus.Counter
	taken    prometheus.Counter
	// mislabelled counts bodies without the encoding that their header names.
	mislabelled prometheus.Counter
	refused     refusals
}

type keptHeader struct{ canonical, lower string }

func newEndpoint(s source.Source, v verifier, g *gateway, in *intake.Intake, edge *semaphore.Weighted, m *metrics) *endpoint {
	bodies := bodiesBudget(&s)
	src := &endpoint{
		Source:     s,
		decides:    s.Decides(),
		gateway:    g,
		intake:     in.Source(s, g.Decode),
		verifier:   v,
		limits:     newLimits(s.Limits.Body, s.Limits.Rate, s.Limits.Daily),
		bodies:     newBudget(bodies, nil),
		unverified: newBudget(max(bodies/4, maxBuffer(s.Limits.Body)), nil),
		decoding:   newBudget(decodingBudget()/2, edge),
		answer:     newSuccess(s.Connector.Answer),
		received:   m.received.WithLabelValues(s.Name),
		taken:      m.taken.WithLabelValues(s.Name),

		mislabelled:    m.mislabelled.WithLabelValues(s.Name),
		secrets:        secret.NewDigests(s.Auth.Values),
		handshakes:     m.handshakes.WithLabelValues(s.Name),
		handshakesPost: slices.ContainsFunc(s.Connector.Handshakes, func(h connectors.Handshake) bool { return h.Method == http.MethodPost }),
		refused:        m.refusalsOf(s.Name),
	}
	// The vendor's come first: the size of all is bounded.
	for _, h := range slices.Concat(s.VendorHeaders(), alwaysKept, s.KeepHeaders) {
		k := keptHeader{canonical: textproto.CanonicalMIMEHeaderKey(h), lower: strings.ToLower(h)}
		if !slices.Contains(src.keep, k) {
			src.keep = append(src.keep, k)
		}
	}
	return src
}

// continueFrom takes over what an earlier endpoint of the source has counted, and what it has in use.
func (s *endpoint) continueFrom(old *endpoint) {
	s.limits.continueFrom(old.limits, time.Now())
	s.bodies, s.unverified = s.bodies.continueFrom(old.bodies), s.unverified.continueFrom(old.unverified)
	s.decoding = s.decoding.continueFrom(old.decoding)
	s.refused = old.refused
}

const (
	// keptValue is how much is kept of a header's value, and keptTotal of all headers with their names, in bytes. They are
	// stored with every webhook of an array.
	keptValue = kibi
	keptTotal = 4 * kibi
	// headerWeight is the cost of a header in addition to its bytes.
	headerWeight = 64
)

// encodingHeader is kept beside a body that is still encoded.
var encodingHeader = keptHeader{canonical: "Content-Encoding", lower: "content-encoding"}

// keptHeaders are headers to store, with the values that they were made from. A vendor sends the same ones again and again, so the
// last ones are reused; they are never changed.
type keptHeaders struct {
	values [][]string // as received, in the order of the source's list
	stored []*journalv1.Header
	weight int
}

// headersToKeep returns the headers on the source's list.
func (s *endpoint) headersToKeep(h http.Header, encoded bool) []*journalv1.Header {
	if encoded {
		return s.copyHeaders(h, encodingHeader).stored
	}
	last := s.lastKept.Load()
	if last == nil || !last.are(h, s.keep) {
		last = s.copyHeaders(h)
		s.lastKept.Store(last)
	}
	return last.stored
}

func (k *keptHeaders) are(h http.Header, keep []keptHeader) bool {
	for i := range keep {
		if !slices.Equal(h[keep[i].canonical], k.values[i]) {
			return false
		}
	}
	return true
}

func (s *endpoint) copyHeaders(h http.Header, additional ...keptHeader) *keptHeaders {
	kept := &keptHeaders{values: make([][]string, 0, len(s.keep))}
	for _, k := range additional {
		kept.add(h, k)
	}
	for _, k := range s.keep {
		kept.values = append(kept.values, h[k.canonical])
		kept.add(h, k)
	}
	return kept
}

// add keeps the values of a header. One that is cut shows it; when there are too many the rest is left out.
func (k *keptHeaders) add(h http.Header, name keptHeader) {
	for _, v := range h[name.canonical] {
		if k.weight >= keptTotal {
			return
		}
		more := ""
		if len(v) > keptValue {
			v, more = v[:keptValue], "…"
		}
		stored := &journalv1.Header{Name: name.lower, Value: strings.ToValidUTF8(v, "\uFFFD") + more}
		k.stored = append(k.stored, stored)
		k.weight += headerWeight + len(stored.GetName()) + len(stored.GetValue())
	}
}
