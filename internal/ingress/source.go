package ingress

import (
	"errors"
	"fmt"
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
)

// Source is one configured instance of a connector.
type Source struct {
	Connector *connectors.Connector
	// Info is what the connector is told. Its Name is the path's second segment.
	Info connectors.Source
	Auth Auth
	// Reject answers 400 to what cannot be decoded or translated, instead of keeping it and answering success. A webhook that
	// fails by a fault of ours is kept all the same.
	Reject bool
	// GRPC also takes typed calls.
	GRPC bool
	// KeepHeaders are request headers to store, besides content-type, user-agent and those that mean something to the
	// connector. Of a value 1 KiB is kept, of all together some 4 KiB. Credentials are refused.
	KeepHeaders []string
	// Window is how long the same body is taken for the same webhook, at least a second. 0 is the connector's.
	Window time.Duration
	Limits Limits
}

// Auth is how the sender proves who it is. Exactly one of Header, Tokens, HMAC and None is set.
type Auth struct {
	// Header is the name of a header with a secret value, Values the values of which any is accepted.
	Header string
	Values []string
	// Tokens are secret segments of the URL, any of which is accepted.
	Tokens []string
	// HMAC is a signature over the request.
	HMAC *HMAC
	// None lets in everybody.
	None bool
}

// HMAC is how a sender signs.
type HMAC struct {
	Spec connectors.HMAC
	// Secrets, any of which may have been signed with.
	Secrets []string
	// PublicURL is the base of the URL that the sender calls, such as "https://hooks.example.com", where a proxy changes it on
	// the way: {host}, {path} and {url} are made of it. Empty: they are as they arrive.
	PublicURL string
}

// neverKept are headers that carry credentials by definition.
var neverKept = []string{"Authorization", "Proxy-Authorization", "Cookie"}

// alwaysKept are headers that tell what a body is and who sent it.
var alwaysKept = []string{"Content-Type", "User-Agent"}

func (s Source) validate() error {
	var problems []error
	ways := 0
	for _, set := range []bool{s.Auth.Header != "", len(s.Auth.Tokens) > 0, s.Auth.HMAC != nil, s.Auth.None} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		problems = append(problems, errors.New("needs exactly one way of authentication"))
	}
	if s.Auth.Header != "" && len(s.Auth.Values) == 0 {
		problems = append(problems, errors.New("has no value for its header"))
	}
	if slices.Contains(s.Auth.Values, "") || slices.Contains(s.Auth.Tokens, "") {
		problems = append(problems, errors.New("has an empty secret"))
	}
	if s.Info.Name == "" || strings.Contains(s.Info.Name, "/") {
		problems = append(problems, errors.New("has a name that is no path segment"))
	}
	if s.Info.Zone == nil {
		problems = append(problems, errors.New("has no time zone"))
	}
	if s.Window != 0 && s.Window < time.Second {
		problems = append(problems, errors.New("has a window shorter than a second"))
	}
	if s.GRPC && s.Auth.HMAC != nil {
		problems = append(problems, errors.New("takes typed calls, which nobody signs"))
	}
	for _, h := range slices.Concat(s.meaningful(), s.KeepHeaders) {
		if h = textproto.CanonicalMIMEHeaderKey(h); s.isCredential(h) {
			problems = append(problems, fmt.Errorf("would keep the credential in header %q", h))
		}
	}
	return errors.Join(problems...)
}

// meaningful are the headers that the connector is told of, and that are stored for that.
func (s *Source) meaningful() (names []string) {
	for _, h := range []string{s.Connector.EventHeader, s.Connector.KeyHeader} {
		if h != "" {
			names = append(names, h)
		}
	}
	return names
}

func (s *Source) isCredential(canonical string) bool {
	secret := s.Auth.Header
	if s.Auth.HMAC != nil {
		secret = s.Auth.HMAC.Spec.Header
	}
	return slices.Contains(neverKept, canonical) || canonical == textproto.CanonicalMIMEHeaderKey(secret)
}

// source is a Source with all that can be prepared.
type source struct {
	Source

	gateway  *gateway
	intake   *intake.Source
	verifier verifier
	limits   *limits
	share    *semaphore.Weighted // of the workload
	answer   success
	keep     []keptHeader
	lastKept atomic.Pointer[keptHeaders]
	received prometheus.Counter
	taken    prometheus.Counter
	refused  refusals
}

type keptHeader struct{ canonical, lower string }

func newSource(s Source, v verifier, g *gateway, in *intake.Intake, m *metrics) *source {
	src := &source{
		Source:  s,
		gateway: g,
		intake: in.Source(intake.SourceConfig{
			Connector: s.Connector, Info: s.Info, Reject: s.Reject, Window: s.Window,
		}),
		verifier: v,
		limits:   newLimits(s.bounds()),
		share:    newShare(),
		answer:   newSuccess(s.Connector.Answer),
		received: m.received.WithLabelValues(s.Info.Name),
		taken:    m.taken.WithLabelValues(s.Info.Name),
		refused:  m.refusalsOf(s.Info.Name),
	}
	// Those that mean something come first: what is kept is bounded.
	for _, h := range slices.Concat(s.meaningful(), alwaysKept, s.KeepHeaders) {
		k := keptHeader{canonical: textproto.CanonicalMIMEHeaderKey(h), lower: strings.ToLower(h)}
		if !slices.Contains(src.keep, k) {
			src.keep = append(src.keep, k)
		}
	}
	return src
}

// bounds are the source's own, where they are set, and else what its sender needs.
func (s *Source) bounds() Limits {
	l := s.Limits.orDefault(s.Connector.MaxBody, s.Auth.None)
	// A body may be held twice, compressed and not, and its document beside it.
	l.InFlight = max(l.InFlight, int64(2+s.copies(s.Connector.FormField != ""))*l.largest())
	return l
}

// copies is how much is made of a body before it is decoded, in times of its length at most: what a form holds, and what the
// connector mends.
func (s *Source) copies(form bool) int {
	n := 0
	if form {
		n++
	}
	if s.Connector.Normalize != nil {
		n++
	}
	return n
}

const (
	// keptValue is how much is kept of a header's value, and keptTotal of all headers with their names, in bytes. They are
	// stored with every webhook of an array.
	keptValue = kibi
	keptTotal = 4 * kibi
	// headerWeight is what a header costs besides.
	headerWeight = 64
)

// encodingHeader is kept beside a body that is still encoded.
var encodingHeader = keptHeader{canonical: "Content-Encoding", lower: "content-encoding"}

// keptHeaders are headers to store, and what they were made of. A vendor sends the same ones again and again, so the last
// ones are used again; nobody changes them.
type keptHeaders struct {
	values [][]string // as received, in the order of the source's list
	stored []*journalv1.Header
	weight int
}

// headersToKeep returns the headers on the source's list.
func (s *source) headersToKeep(h http.Header, encoded bool) []*journalv1.Header {
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

func (s *source) copyHeaders(h http.Header, besides ...keptHeader) *keptHeaders {
	kept := &keptHeaders{values: make([][]string, 0, len(s.keep))}
	for _, k := range besides {
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
