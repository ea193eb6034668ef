package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	// Zones must load on any machine; some containers have no zone files.
	_ "time/tzdata"

	"github.com/webhook-bridge/bridge/connectors"
	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/schema"
	"github.com/webhook-bridge/bridge/internal/source"
)

// sources reads the sources. Package source sets their defaults and checks them. publicURL is the listener's.
func (r resolver) sources(files []*configv1.Source, publicURL string) []source.Source {
	sources := make([]source.Source, 0, len(files))
	lines := map[string]int{}
	for i, file := range files {
		path := element("sources", i)
		r.unique("source", lines, path+".name", file.GetName())
		s := r.source(path, file)
		if s.Auth.Scheme == source.SchemeHMAC {
			s.Auth.PublicURL = cmp.Or(s.Auth.PublicURL, publicURL)
		}
		sources = append(sources, s)
	}
	for _, p := range source.Resolve(sources) {
		r.addf(element("sources", p.Source)+"."+p.Key, "%s", p.Reason)
	}
	for i, file := range files {
		if h := sources[i].Auth.HMAC; file.GetAuth().GetHmac().GetTimestamp() != nil && !h.Timed() {
			r.addf(element("sources", i)+".auth.hmac.timestamp", "needs header or prefix, to say where the time is")
		}
		r.checkHTTPS(element("sources", i), &sources[i], publicURL)
	}
	return sources
}

// checkHTTPS reports a public URL that the source's vendor does not call.
func (r resolver) checkHTTPS(path string, s *source.Source, publicURL string) {
	if s.Connector == nil || !s.Connector.NeedsHTTPS {
		return
	}
	at, base := "listen.public_url", publicURL
	if s.Auth.PublicURL != "" && s.Auth.PublicURL != publicURL {
		at, base = path+".auth.hmac.public_url", s.Auth.PublicURL
	}
	if u, err := url.Parse(base); base != "" && err == nil && u.Scheme != "https" {
		r.addf(at, "must begin with https: the vendor of connector %s calls no other URL", s.Connector.Name)
	}
}

func (r resolver) source(path string, file *configv1.Source) source.Source {
	s := source.Source{
		Name:        file.GetName(),
		Connector:   r.connector(path+".connector", file.GetConnector()),
		Auth:        r.auth(path+".auth", file.GetAuth()),
		Currency:    file.GetCurrency(),
		Zone:        r.zone(path+".time_zone", file.GetTimeZone()),
		GRPC:        file.GetGrpc(),
		KeepHeaders: file.GetKeepHeaders(),
		Window:      r.duration(path+".dedupe_window", file.GetDedupeWindow()),
		Alerts:      r.alerts(path+".alarms", file.GetAlarms()),

		UnsignedEventName:  file.GetUnsignedEventName(),
		UnsignedDeliveryID: file.GetUnsignedDeliveryId(),
	}
	undecodable := schema.At(path + ".on_undecodable").Of(s.Auth.Scheme == source.SchemeNone)
	s.Reject = file.GetOnUndecodable() == "reject" || file.GetOnUndecodable() == "" && undecodable.Text() == "reject"
	s.Limits = r.limits(path+".limits", file.GetLimits(), s.Connector)
	return s
}

// connector returns the connector of that name, or nil if there is none.
func (r resolver) connector(path, name string) *connectors.Connector {
	c, ok := r.connectors[name]
	if !ok {
		r.addf(path, "unknown connector; known are %s", strings.Join(slices.Sorted(maps.Keys(r.connectors)), ", "))
	}
	return c
}

// zone returns the zone of that name, and nil for no name.
func (r resolver) zone(path, name string) *time.Location {
	if name == "" {
		return nil
	}
	zone, err := time.LoadLocation(name)
	// Local is a different zone on every machine.
	if err != nil || name == "Local" {
		r.addf(path, `is not a time zone; use an IANA name, such as "Asia/Jakarta"`)
		return time.UTC
	}
	return zone
}

func (r resolver) auth(path string, file *configv1.Auth) source.Auth {
	switch scheme := file.GetScheme().(type) {
	case *configv1.Auth_Header:
		return source.Auth{
			Scheme: source.SchemeHeader, Header: scheme.Header.GetName(), Values: r.secrets(path+".header.values", scheme.Header.GetValues()),
		}
	case *configv1.Auth_PathToken:
		return source.Auth{Scheme: source.SchemePathToken, Values: r.secrets(path+".path_token.values", scheme.PathToken.GetValues())}
	case *configv1.Auth_Hmac:
		return source.Auth{
			Scheme: source.SchemeHMAC, HMAC: r.hmac(path+".hmac", scheme.Hmac), PublicURL: scheme.Hmac.GetPublicUrl(),
			Values: r.secrets(path+".hmac.secrets", scheme.Hmac.GetSecrets()),
		}
	case *configv1.Auth_None:
		return source.Auth{Scheme: source.SchemeNone}
	default: // Validation has reported it.
		return source.Auth{}
	}
}

// hmac reads the fields of a signature that are set.
func (r resolver) hmac(path string, file *configv1.HMACAuth) *connectors.HMAC {
	at := file.GetTimestamp()
	h := &connectors.HMAC{
		Header:          file.GetHeader(),
		Algorithm:       file.GetAlgorithm(),
		Encoding:        file.GetEncoding(),
		Prefix:          file.GetPrefix(),
		Separator:       file.GetSeparator(),
		SecretPrefix:    file.GetSecretPrefix(),
		SecretEncoding:  file.GetSecretEncoding(),
		TimestampHeader: at.GetHeader(),
		TimestampPrefix: at.GetPrefix(),
		TimestampUnit:   at.GetUnit(),
		Signed:          file.GetSigned(),
	}
	if at.GetTolerance() != nil {
		h.Tolerance = r.duration(path+".timestamp.tolerance", at.GetTolerance())
	}
	return h
}

func (r resolver) alerts(path string, file *configv1.Alarms) source.Alerts {
	a := source.Alerts{
		SilentAfter:         r.duration(path+".silent_after", file.GetSilentAfter()),
		UnauthorizedPercent: schema.At(path + ".unauthorized_percent").Number(),
		Quarantined:         schema.At(path + ".quarantined").Number(),
	}
	// 0 is a value here: no alert.
	if file != nil && file.UnauthorizedPercent != nil {
		a.UnauthorizedPercent = int(file.GetUnauthorizedPercent())
	}
	if file != nil && file.Quarantined != nil {
		a.Quarantined = int(file.GetQuarantined())
	}
	return a
}

// limits reads the limits that are set. The defaults depend on the source, so package source sets them.
func (r resolver) limits(path string, file *configv1.Limits, c *connectors.Connector) source.Limits {
	l := source.Limits{Rate: int(file.GetRate())}
	if file.GetBody() != "" {
		var needed int64
		if c != nil {
			needed = c.MaxBody
		}
		l.Body = r.size(path+".body", file.GetBody(), needed)
	}
	if file.GetInFlight() != "" {
		l.InFlight = r.size(path+".in_flight", file.GetInFlight(), 0)
	}
	if file.GetDaily() != "" {
		l.Daily = r.size(path+".daily", file.GetDaily(), 0)
	}
	return l
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
