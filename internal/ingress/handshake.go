package ingress

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// reply is an answer of success other than the source's usual one.
type reply struct {
	header      http.Header
	contentType string
	body        []byte
}

func (p *reply) write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	if p.contentType != "" {
		h.Set("Content-Type", p.contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(p.body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(p.body) //nolint:gosec // a challenge is valid, and plain text or JSON; the sender may have hung up
}

// shakeHands returns the answer to a handshake that the connector declares, nil if the request is none. The error says what is
// wrong with the handshake, or that a request other than POST is no such handshake.
func (s *endpoint) shakeHands(r *http.Request, to route, now time.Time) (*reply, error) {
	post := r.Method == http.MethodPost
	if post && !s.handshakesPost {
		return nil, nil
	}
	query := r.URL.Query()
	for i := range s.Connector.Handshakes {
		h := &s.Connector.Handshakes[i]
		challenge, ok := challengeIn(h, r, query)
		switch {
		case !ok:
			continue
		case s.verifier.tokens && !s.secrets.Match(to.token, now), h.Token != "" && !s.secrets.Match(query.Get(h.Token), now):
			return nil, errUnauthorized
		case !connectors.ValidChallenge(challenge):
			return nil, errChallenge
		}
		return s.replyTo(&h.Reply, challenge)
	}
	switch {
	case post:
		return nil, nil
	case hasChallenge(r, query):
		return nil, errUndeclared
	}
	return nil, errMethod
}

// challengeIn returns the challenge of a request if it is the handshake h.
func challengeIn(h *connectors.Handshake, r *http.Request, query url.Values) (challenge string, ok bool) {
	if r.Method != h.Method && (r.Method != http.MethodHead || h.Method != http.MethodGet) {
		return "", false
	}
	for name, value := range h.Where {
		if query.Get(name) != value {
			return "", false
		}
	}
	if h.Header != "" {
		challenge = r.Header.Get(h.Header)
		return challenge, challenge != ""
	}
	return query.Get(h.Query), query.Has(h.Query)
}

// knownQueries and knownHeaders have the challenges of vendors and platforms.
var (
	knownQueries = []string{"hub.challenge", "hub.mode", "challenge", "validationToken", "validationtoken", "crc_token", "echostr"}
	knownHeaders = []string{"Webhook-Request-Origin", "X-Okta-Verification-Challenge", "X-Hook-Secret"}
)

// hasChallenge reports whether a request looks like a handshake that some vendors send.
func hasChallenge(r *http.Request, query url.Values) bool {
	return slices.ContainsFunc(knownQueries, query.Has) || slices.ContainsFunc(knownHeaders, func(h string) bool { return r.Header.Get(h) != "" })
}

// replyHeader has the signature that replyTo takes out.
const replyHeader = "X-Reply"

// replyTo answers a valid challenge.
func (s *endpoint) replyTo(to *connectors.Reply, challenge string) (*reply, error) {
	answer := challenge
	if to.HMAC != nil {
		spec := connectors.HMAC{Header: replyHeader, Algorithm: to.HMAC.Algorithm, Encoding: to.HMAC.Encoding, Prefix: to.HMAC.Prefix}
		if own := s.Auth.HMAC; own != nil {
			spec.SecretPrefix, spec.SecretEncoding = own.SecretPrefix, own.SecretEncoding
		}
		secrets := secret.Reveal(s.Auth.Values)
		scheme, err := signature.Compile(spec, secrets[:min(1, len(secrets))])
		if err != nil {
			return nil, err
		}
		answer = scheme.Sign(signature.Request{Body: []byte(challenge)}, time.Time{}).Get(replyHeader)
	}
	p := &reply{header: make(http.Header)}
	for name, value := range to.Headers {
		p.header.Set(name, value)
	}
	switch {
	case to.Field != "":
		object := map[string]string{to.Field: answer}
		if to.Echo != "" {
			object[to.Echo] = challenge
		}
		p.contentType = "application/json"
		p.body, _ = json.Marshal(object) // texts can always be encoded
	case to.Header != "":
		p.header.Set(to.Header, answer)
	default:
		p.contentType, p.body = "text/plain; charset=utf-8", []byte(answer)
	}
	return p, nil
}

// answerPing returns the answer to a delivery that was a ping, nil if it is the usual one.
func (s *endpoint) answerPing(d *intake.Delivery) (*reply, error) {
	switch {
	case d.Challenge != "":
		return s.replyTo(&d.Ping.Reply, d.Challenge)
	case d.Ping.Answer != "":
		return &reply{contentType: "application/json", body: []byte(d.Ping.Answer)}, nil
	}
	return nil, nil
}

// checkHandshakes says why a source could not answer what its connector declares.
func (s *endpoint) checkHandshakes() error {
	const challenge = "0"
	for _, h := range s.Connector.Handshakes {
		if _, err := s.replyTo(&h.Reply, challenge); err != nil {
			return &handshakeError{h.Name, err}
		}
	}
	for _, p := range s.Connector.Pings {
		if _, err := s.replyTo(&p.Reply, challenge); err != nil {
			return &handshakeError{p.Name, err}
		}
	}
	return nil
}

type handshakeError struct {
	name  string
	cause error
}

func (e *handshakeError) Error() string {
	return "handshake " + e.name + " cannot be answered: " + e.cause.Error()
}
func (e *handshakeError) Unwrap() error { return e.cause }
