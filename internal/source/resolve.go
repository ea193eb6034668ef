package source

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/schema"
)

// Problem is one thing that is wrong with a source.
type Problem struct {
	// Source is the index of the source in the slice that was resolved.
	Source int
	// Key is the key of the configuration, below the source's, such as "auth.header.values[1]".
	Key string
	// Reason is for people, and follows the key. It shows no value that may be a secret.
	Reason string
}

// String is "KEY: REASON".
func (p Problem) String() string { return p.Key + ": " + p.Reason }

// Resolve completes sources in place and returns what is wrong with them, in their order. It replaces what it changes: slices
// and pointers of a source are not written through.
func Resolve(sources []Source) []Problem {
	var all []Problem
	names := make(map[string]int, len(sources))
	for i := range sources {
		r := resolver{Source: &sources[i], index: i}
		if first, taken := names[r.Name]; taken && r.Name != "" {
			r.addf("name", "is the name of sources[%d], too", first)
		} else {
			names[r.Name] = i
		}
		r.resolve()
		all = append(all, r.problems...)
	}
	return append(all, keptCredentials(sources)...)
}

// resolver completes one source.
type resolver struct {
	*Source

	index    int
	problems []Problem
}

func (r *resolver) addf(key, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.index, key, fmt.Sprintf(format, args...)})
}

func (r *resolver) resolve() {
	if r.Name == "" || strings.Contains(r.Name, "/") {
		r.addf("name", "must be a segment of a path")
	}
	r.needs()
	if r.Zone == nil {
		r.Zone = time.UTC
	}
	if r.Currency != "" && !isCurrency(r.Currency) {
		r.addf("currency", "is not a currency of ISO 4217")
	}
	r.auth()
	if r.GRPC && r.Auth.Scheme == SchemeHMAC {
		r.addf("grpc", "cannot be true beside auth.hmac: typed calls are not signed")
	}
	r.limits()
	r.window()
	r.KeepHeaders = slices.Clone(r.KeepHeaders)
	for i, name := range r.KeepHeaders {
		r.KeepHeaders[i] = canonical(name)
	}
}

// needs reports what the connector needs and the source lacks.
func (r *resolver) needs() {
	c := r.Connector
	if c == nil {
		r.addf("connector", "is missing")
		return
	}
	if c.NeedsCurrency && r.Currency == "" {
		r.addf("currency", "connector %s needs currency, since the vendor sends amounts without one", c.Name)
	}
	if c.NeedsTimeZone && r.Zone == nil {
		r.addf("time_zone", "connector %s needs time_zone, since the vendor sends times without one", c.Name)
	}
	for _, name := range r.VendorHeaders() {
		if slices.Contains(credentialHeaders, canonical(name)) {
			r.addf("connector", "connector %s has the header %s stored with every webhook, which carries a credential", c.Name, name)
		}
	}
}

// window fills in the connector's window. Its bounds are those of the configuration's key, which the journal relies on.
func (r *resolver) window() {
	window := connectors.DefaultWindow
	if r.Connector != nil && r.Connector.Window != 0 {
		window = r.Connector.Window
		if reason := schema.At("sources.dedupe_window").CheckDuration(window); reason != "" {
			r.addf("connector", "connector %s has the window %s, which %s", r.Connector.Name, schema.FormatDuration(window), reason)
		}
	}
	if r.Window == 0 {
		r.Window = max(window, r.Auth.replayable())
	}
}

// keptCredentials reports headers to keep that carry a secret of any source: a sender may send more than one.
func keptCredentials(sources []Source) (all []Problem) {
	secrets := slices.Clone(credentialHeaders)
	for i := range sources {
		if header := sources[i].Auth.Header; header != "" {
			secrets = append(secrets, header)
		}
	}
	for i := range sources {
		for j, name := range sources[i].KeepHeaders {
			if slices.Contains(secrets, name) {
				all = append(all, Problem{i, fmt.Sprintf("keep_headers[%d]", j), "this header carries a credential and is never kept"})
			}
		}
	}
	return all
}
