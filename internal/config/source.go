package config

import (
	"fmt"
	"math"
	"slices"
	"time"

	// Zones must load on any machine: containers made from scratch have no zone files.
	_ "time/tzdata"

	"golang.org/x/net/http/httpguts"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// The bounds of what a source may be given, and the small quotas of one that nothing authenticates.
const (
	leastBody, mostBody = kib, 64 * mib
	defaultBody         = mib
	defaultInFlight     = 64 * mib
	mostInFlight        = 16 * gib
	openBody            = 64 * kib
	openRate            = 20
	openDaily           = 64 * mib
	leastToken          = 16
	mostSecret          = 4 * kib
)

// Headers that cannot carry a secret: net/http takes them out or gives them a meaning, or they are kept with every
// webhook.
var unusableHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Keep-Alive",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent",
}

// Headers that carry credentials by their nature.
var credentialHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie"}

func (r resolver) sources(files []*configv1.Source) []Source {
	sources := make([]Source, 0, len(files))
	lines := map[string]int{}
	for i, file := range files {
		path := element("sources", i)
		if line, taken := lines[file.GetName()]; taken && file.GetName() != "" {
			r.addf(path+".name", "is taken by the source in line %d", line)
		} else {
			lines[file.GetName()] = r.place(path + ".name").line
		}
		sources = append(sources, r.source(path, file))
	}
	r.keepHeaders(sources)
	return sources
}

func (r resolver) source(path string, file *configv1.Source) Source {
	needs := r.needs(path, file)
	auth := r.auth(path+".auth", file, needs)
	s := Source{
		Name:      file.GetName(),
		Connector: file.GetConnector(),
		Auth:      auth,
		Currency:  file.GetCurrency(),
		Zone:      r.zone(path+".time_zone", file.GetTimeZone()),
		GRPC:      file.GetGrpc(),
		Window:    r.duration(path+".dedupe_window", file.GetDedupeWindow(), window(auth, needs), time.Second, 168*time.Hour),
		Alarms:    r.alarms(path+".alarms", file.GetAlarms()),
	}
	if s.Currency != "" && !source.IsCurrency(s.Currency) {
		r.addf(path+".currency", "is not a currency of ISO 4217")
	}
	if s.GRPC && s.Auth.Scheme == SchemeHMAC {
		r.addf(path+".grpc", "cannot be true beside auth.hmac: nobody signs typed calls")
	}
	open := s.Auth.Scheme == SchemeNone
	s.Reject = file.GetOnUndecodable() == "reject" || open && file.GetOnUndecodable() == ""
	s.Limits = r.limits(path+".limits", file.GetLimits(), needs, open)
	for _, name := range file.GetKeepHeaders() {
		s.KeepHeaders = append(s.KeepHeaders, canonical(name))
	}
	return s
}

// window is how long the same body counts as the same webhook unless that is set: at least as long as a captured request can
// be sent again. 0 is the connector's.
func window(a Auth, needs Needs) time.Duration {
	if replayable := a.replayable(); replayable > needs.Window {
		return replayable
	}
	return 0
}

// keptHeader is what is wrong with a secret in a header that the connector is told of.
const keptHeader = "connector %s needs this header and has it stored with every webhook: it cannot carry a secret"

// keeps reports whether a header, by its canonical name, is stored with every webhook.
func (n *Needs) keeps(header string) bool {
	return slices.ContainsFunc(n.Kept, func(h string) bool { return canonical(h) == header })
}

// needs looks up the connector and reports what it needs and the source lacks.
func (r resolver) needs(path string, file *configv1.Source) Needs {
	needs, ok := r.connectors[file.GetConnector()]
	if !ok {
		r.addf(path+".connector", "unknown connector; known are %s", r.connectors.names())
		return needs
	}
	if needs.Currency && file.GetCurrency() == "" {
		r.addf(path+".currency", "connector %s needs currency, since the vendor sends amounts without one", file.GetConnector())
	}
	if needs.TimeZone && file.GetTimeZone() == "" {
		r.addf(path+".time_zone", "connector %s needs time_zone, since the vendor sends times without one", file.GetConnector())
	}
	return needs
}

// unknownTo reports what a connector would have to know, unless the connector itself is unknown, which is reported already.
func (r resolver) unknownTo(connector, path, format string) {
	if _, ok := r.connectors[connector]; ok {
		r.addf(path, format, connector)
	}
}

func (r resolver) zone(path, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	// Local is a different zone on every machine.
	if err != nil || name == "Local" {
		r.addf(path, `is not a time zone; use an IANA name, such as "Asia/Jakarta"`)
		return time.UTC
	}
	return zone
}

func (r resolver) auth(path string, src *configv1.Source, needs Needs) Auth {
	switch scheme := src.GetAuth().GetScheme().(type) {
	case *configv1.Auth_Header:
		name := canonical(orDefault(scheme.Header.GetName(), needs.Header))
		switch {
		case name == "":
			r.unknownTo(src.GetConnector(), path+".header.name", "is missing: the vendor of connector %s has no header of its own")
		case slices.Contains(unusableHeaders, name):
			r.addf(path+".header.name", "this header cannot carry a secret")
		case needs.keeps(name):
			r.addf(path+".header.name", keptHeader, src.GetConnector())
		}
		values := r.secrets(path+".header.values", scheme.Header.GetValues(), checkHeaderValue)
		return Auth{Scheme: SchemeHeader, Header: name, Values: values}
	case *configv1.Auth_PathToken:
		return Auth{Scheme: SchemePathToken, Values: r.secrets(path+".path_token.values", scheme.PathToken.GetValues(), checkPathToken)}
	case *configv1.Auth_Hmac:
		return r.hmac(path+".hmac", src.GetConnector(), scheme.Hmac, needs)
	default: // Validation has reported an Auth without scheme.
		return Auth{Scheme: SchemeNone}
	}
}

func (r resolver) alarms(path string, file *configv1.Alarms) Alarms {
	a := Alarms{
		SilentAfter:         r.duration(path+".silent_after", file.GetSilentAfter(), 0, 10*time.Second, year),
		UnauthorizedPercent: 50,
		Quarantined:         1,
	}
	if file != nil && file.UnauthorizedPercent != nil {
		a.UnauthorizedPercent = int(file.GetUnauthorizedPercent())
	}
	if file != nil && file.Quarantined != nil {
		a.Quarantined = int(file.GetQuarantined())
	}
	return a
}

func (r resolver) limits(path string, file *configv1.Limits, needs Needs, open bool) Limits {
	body, rate, daily := max(int64(defaultBody), needs.MaxBody), 0, int64(0)
	if open {
		body, rate, daily = openBody, openRate, openDaily
	}
	if file.GetRate() > 0 {
		rate = int(file.GetRate())
	}
	l := Limits{Rate: rate}
	l.Body = r.size(path+".body", file.GetBody(), body, leastBody, max(int64(mostBody), needs.MaxBody))
	l.InFlight = r.size(path+".in_flight", file.GetInFlight(), max(defaultInFlight, l.Body), leastBody, mostInFlight)
	if l.InFlight < l.Body {
		r.addf(path+".in_flight", "must be at least the largest body, %s", FormatSize(l.Body))
	}
	l.Daily = r.size(path+".daily", file.GetDaily(), daily, leastBody, math.MaxInt64)
	if l.Daily > 0 && l.Daily < l.Body {
		r.addf(path+".daily", "must be at least the largest body, %s", FormatSize(l.Body))
	}
	return l
}

// keepHeaders refuses headers with credentials, those of other sources too: a sender may hold more than one.
func (r resolver) keepHeaders(sources []Source) {
	secret := slices.Clone(credentialHeaders)
	for _, s := range sources {
		if s.Auth.Header != "" {
			secret = append(secret, s.Auth.Header)
		}
	}
	for i, s := range sources {
		for j, name := range s.KeepHeaders {
			if slices.Contains(secret, name) {
				r.addf(element(element("sources", i)+".keep_headers", j), "this header carries a credential and is never kept")
			}
		}
	}
}

func checkHeaderValue(value string) string {
	switch {
	case len(value) > mostSecret:
		return fmt.Sprintf("must be at most %d bytes", mostSecret)
	case !httpguts.ValidHeaderFieldValue(value):
		return "holds a line break or another character that no header can carry"
	case value[0] == ' ' || value[0] == '\t' || value[len(value)-1] == ' ' || value[len(value)-1] == '\t':
		return "begins or ends with a blank, which no header can carry"
	}
	return ""
}

func checkPathToken(value string) string {
	return checkToken(value, func(c byte) bool { return c == '-' || c == '_' }, "dash and underscore")
}

func checkBearer(value string) string {
	extra := func(c byte) bool { return slices.Contains([]byte("-._~+/="), c) }
	return checkToken(value, extra, "and -._~+/=")
}

// checkToken says what is wrong with a token of letters, digits and what else allows, which words name.
func checkToken(value string, extra func(byte) bool, words string) string {
	if len(value) < leastToken || len(value) > mostSecret {
		return fmt.Sprintf("must be at least %d and at most %d characters", leastToken, mostSecret)
	}
	for _, c := range []byte(value) {
		if !extra(c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "may only hold A-Z, a-z, 0-9, " + words
		}
	}
	return ""
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
