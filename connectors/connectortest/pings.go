package connectortest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/webhook-bridge/bridge/connectors"
)

var words = regexp.MustCompile(`^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$`)

// checkPings checks what the connector declares, and that a webhook in testdata shows each ping.
func checkPings(k *kit) error {
	c := k.connector
	if len(c.Pings) == 0 && len(c.Handshakes) == 0 {
		return nil
	}
	shown := make(map[string]bool)
	for _, w := range k.webhooks {
		if p := k.ping(w); p != nil {
			shown[p.Name] = true
		}
	}
	var errs []error
	fail := func(name, problem string) { errs = append(errs, fmt.Errorf("%s: %s", name, problem)) }
	for i, p := range c.Pings {
		switch {
		case slices.ContainsFunc(c.Pings[:i], func(q connectors.Ping) bool { return q.Name == p.Name }):
			fail(p.Name, "two pings have this name")
		case !words.MatchString(p.Name):
			fail(p.Name, "the name is not of lower-case words")
		case (p.Path == "") != (p.Value == ""), p.Path == "" && len(p.Events) == 0:
			fail(p.Name, "neither events nor a path with a value tell it")
		case !shown[p.Name]:
			fail(p.Name, "no webhook in testdata is this ping")
		}
		for _, event := range p.Events {
			if _, modelled := k.events[event]; modelled {
				fail(p.Name, fmt.Sprintf("the event %q is in the schema", event))
			}
		}
		if p.Answer != "" && !json.Valid([]byte(p.Answer)) {
			fail(p.Name, "the answer is not JSON")
		}
		errs = append(errs, checkReply(p.Name, &p.Reply))
	}
	for _, h := range c.Handshakes {
		if problem := handshakeProblem(&h); problem != "" {
			fail(h.Name, problem)
		}
		errs = append(errs, checkReply(h.Name, &h.Reply))
	}
	return errors.Join(errs...)
}

func handshakeProblem(h *connectors.Handshake) string {
	switch {
	case !words.MatchString(h.Name):
		return "the name is not of lower-case words"
	case !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodOptions}, h.Method):
		return "the method is none of GET, POST, PUT and OPTIONS"
	case (h.Query == "") == (h.Header == ""):
		return "the challenge is not in one place"
	case h.Method == http.MethodPost && h.Query == "":
		return "a POST with a header could be a webhook"
	}
	return ""
}

func checkReply(name string, r *connectors.Reply) error {
	switch {
	case r.Field != "" && r.Header != "":
		return fmt.Errorf("%s: the answer is in two places", name)
	case r.Echo != "" && (r.Field == "" || r.Echo == r.Field):
		return fmt.Errorf("%s: the echo has no field of its own", name)
	case r.HMAC == nil:
		return nil
	case !slices.Contains([]string{"sha1", "sha256", "sha512"}, cmp.Or(r.HMAC.Algorithm, "sha256")),
		!slices.Contains([]string{"hex", "base64"}, cmp.Or(r.HMAC.Encoding, "hex")):
		return fmt.Errorf("%s: the HMAC has an unknown algorithm or encoding", name)
	}
	return nil
}
