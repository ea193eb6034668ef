package source

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/secret"
)

const key = "a-secret-0123456789"

var compare = cmp.Options{
	cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() }),
	cmp.Comparer(func(a, b *connectors.Connector) bool { return a == b }),
}

// signing knows how its vendor signs.
func signing() *connectors.Connector {
	return &connectors.Connector{Name: "signing", EventField: "type", Window: time.Minute, Verification: connectors.Verification{HMAC: &connectors.HMAC{
		Header: "x-signature", Prefix: "v1=", Separator: ",", TimestampPrefix: "t=", Signed: "{timestamp}.{body}",
	}}}
}

func one(t *testing.T, s Source) Source {
	t.Helper()
	s.Name = "shop"
	sources := []Source{s}
	if problems := Resolve(sources); problems != nil {
		t.Fatalf("%v", problems)
	}
	return sources[0]
}

// Resolve fills in every default, and does nothing the second time.
func TestDefaults(t *testing.T) {
	plain := &connectors.Connector{Name: "plain", Verification: connectors.Verification{Header: "x-vendor-secret"}}
	large := &connectors.Connector{Name: "large", MaxBody: 100 << 20, Window: time.Second}
	signs := signing()
	none := Auth{Scheme: SchemeNone}
	limits := Limits{Body: 1 << 20, InFlight: 64 << 20}
	for name, tt := range map[string]struct{ given, want Source }{
		"header of the vendor": {
			Source{Connector: plain, Auth: Auth{Scheme: SchemeHeader, Values: secret.List("", key)}, KeepHeaders: []string{"x-request-id"}},
			Source{
				Connector: plain, Zone: time.UTC, Limits: limits, Window: 2 * time.Minute, KeepHeaders: []string{"X-Request-Id"},
				Auth: Auth{Scheme: SchemeHeader, Header: "X-Vendor-Secret", Values: secret.List(key)},
			},
		},
		"header of its own": {
			Source{Connector: plain, Auth: Auth{Scheme: SchemeHeader, Header: "x-own", Values: secret.List(key)}, Window: time.Hour},
			Source{
				Connector: plain, Zone: time.UTC, Limits: limits, Window: time.Hour,
				Auth: Auth{Scheme: SchemeHeader, Header: "X-Own", Values: secret.List(key)},
			},
		},
		"no authentication": {
			Source{Connector: large, Auth: none},
			Source{
				Connector: large, Auth: none, Zone: time.UTC, Window: time.Second,
				Limits: Limits{Body: 64 << 10, Rate: 20, InFlight: 64 << 20, Daily: 64 << 20},
			},
		},
		"large bodies": {
			Source{Connector: large, Auth: Auth{Scheme: SchemePathToken, Values: secret.List(key)}},
			Source{
				Connector: large, Auth: Auth{Scheme: SchemePathToken, Values: secret.List(key)}, Zone: time.UTC, Window: time.Second,
				Limits: Limits{Body: 100 << 20, InFlight: 100 << 20},
			},
		},
		"limits that are set": {
			Source{Connector: large, Auth: none, Limits: Limits{Body: 9, Rate: 1, InFlight: 9, Daily: 10}},
			Source{
				Connector: large, Auth: none, Zone: time.UTC, Window: time.Second,
				Limits: Limits{Body: 9, Rate: 1, InFlight: 9, Daily: 10},
			},
		},
		"signature of the vendor": {
			Source{Connector: signs, Auth: Auth{Scheme: SchemeHMAC, Values: secret.List(key), HMAC: &connectors.HMAC{Prefix: "v2="}, PublicURL: "https://a.example/b/"}},
			Source{
				Connector: signs, Zone: time.UTC, Limits: limits, Window: 10 * time.Minute,
				Auth: Auth{
					Scheme: SchemeHMAC, Header: "X-Signature", Values: secret.List(key), PublicURL: "https://a.example/b",
					HMAC: &connectors.HMAC{
						Header: "x-signature", Algorithm: "sha256", Encoding: "hex", Prefix: "v2=", Separator: ",", SecretEncoding: "text",
						TimestampPrefix: "t=", TimestampUnit: "s", Tolerance: 5 * time.Minute, Signed: "{timestamp}.{body}",
					},
				},
			},
		},
		"signature of its own": {
			Source{Connector: signs, Auth: Auth{Scheme: SchemeHMAC, Values: secret.List(key), HMAC: &connectors.HMAC{Header: "S"}}},
			Source{
				Connector: signs, Zone: time.UTC, Limits: limits, Window: time.Minute,
				Auth: Auth{
					Scheme: SchemeHMAC, Header: "S", Values: secret.List(key),
					HMAC: &connectors.HMAC{Header: "S", Algorithm: "sha256", Encoding: "hex", SecretEncoding: "text", Signed: "{body}"},
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.want.Name = "shop"
			once := one(t, tt.given)
			if diff := cmp.Diff(tt.want, once, compare, cmp.Comparer(secret.Value.Equal)); diff != "" {
				t.Errorf("resolved (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(once, one(t, once), compare, cmp.Comparer(secret.Value.Equal)); diff != "" {
				t.Errorf("resolved twice (-once +twice):\n%s", diff)
			}
		})
	}
}

// All problems are reported, each under the key of the configuration, and no secret with them.
func TestProblems(t *testing.T) {
	token := func(values ...string) Auth { return Auth{Scheme: SchemePathToken, Values: secret.List(values...)} }
	header := func(name string, values ...string) Auth {
		return Auth{Scheme: SchemeHeader, Header: name, Values: secret.List(values...)}
	}
	signed := func(change func(*Source)) Source {
		s := Source{Connector: signing(), Auth: Auth{Scheme: SchemeHMAC, Values: secret.List(key)}}
		change(&s)
		return s
	}
	plain := &connectors.Connector{Name: "plain"}
	reads := &connectors.Connector{Name: "reads", EventHeader: "x-event", KeyHeader: "x-id"}
	for _, tt := range []struct {
		name   string
		source Source
		want   string
	}{
		{"no connector", Source{Auth: token(key)}, "connector: is missing"},
		{"no scheme", Source{Connector: plain}, "auth: must have exactly one of"},
		{"no currency", Source{Connector: &connectors.Connector{NeedsCurrency: true}, Auth: token(key)}, "currency: connector"},
		{"no zone", Source{Connector: &connectors.Connector{NeedsTimeZone: true}, Auth: token(key)}, "time_zone: connector"},
		{"short window", Source{Connector: &connectors.Connector{Name: "odd", Window: time.Second / 2}, Auth: token(key)}, "connector: connector odd has the window"},
		{"long window", Source{Connector: &connectors.Connector{Name: "odd", Window: 169 * time.Hour}, Auth: token(key)}, "connector: connector odd has the window 169h, which"},
		{"negative window", Source{Connector: &connectors.Connector{Name: "odd", Window: -time.Second}, Auth: token(key), Window: time.Minute}, "connector: connector odd has the window"},
		{"odd currency", Source{Connector: plain, Auth: token(key), Currency: "EUX"}, "currency: is not a currency of ISO 4217"},
		{"no token", Source{Connector: plain, Auth: token()}, "auth.path_token.values: is missing"},
		{"empty token", Source{Connector: plain, Auth: token("")}, "auth.path_token.values: every value is empty"},
		{"short token", Source{Connector: plain, Auth: token("", key, "short")}, "auth.path_token.values[2]: must be at least 16"},
		{"odd token", Source{Connector: plain, Auth: token(key + "/")}, "auth.path_token.values[0]: may only hold"},
		{"no header", Source{Connector: plain, Auth: header("", key)}, "auth.header.name: is missing"},
		{"header of HTTP", Source{Connector: plain, Auth: header("content-type", key)}, "auth.header.name: this header cannot"},
		{"header that is read", Source{Connector: reads, Auth: header("X-ID", key)}, "auth.header.name: connector reads needs this header"},
		{"no value", Source{Connector: plain, Auth: header("X-Key")}, "auth.header.values: is missing"},
		{"value with a blank", Source{Connector: plain, Auth: header("X-Key", key+" ")}, "auth.header.values[0]: begins or ends"},
		{"value with a break", Source{Connector: plain, Auth: header("X-Key", key+"\nb")}, "auth.header.values[0]: holds a line break"},
		{"secret of none", Source{Connector: plain, Auth: Auth{Scheme: SchemeNone, Values: secret.List(key)}}, "auth.none: has no secrets"},
		{"own header kept", Source{Connector: plain, Auth: header("x-key", key), KeepHeaders: []string{"X-KEY"}}, "keep_headers[0]: this header carries"},
		{"cookie kept", Source{Connector: plain, Auth: token(key), KeepHeaders: []string{"X-A", "cookie"}}, "keep_headers[1]: this header carries"},
		{
			"connector that keeps a credential",
			Source{Connector: &connectors.Connector{Name: "odd", EventHeader: "authorization"}, Auth: token(key)},
			"connector: connector odd has the header authorization stored",
		},
		{"body above room", Source{Connector: plain, Auth: token(key), Limits: Limits{Body: 2 << 20, InFlight: 1}}, "limits.in_flight: must be at least the largest body, 2Mi"},
		{"body above quota", Source{Connector: plain, Auth: token(key), Limits: Limits{Daily: 1}}, "limits.daily: must be at least the largest body, 1Mi"},
		{"typed calls", signed(func(s *Source) { s.GRPC = true }), "grpc: cannot be true beside auth.hmac"},
		{"unknown signature", signed(func(s *Source) { s.Connector = plain }), "auth.hmac.header: is missing"},
		{"signature of HTTP", signed(func(s *Source) { s.Auth.HMAC = &connectors.HMAC{Header: "host"} }), "auth.hmac.header: this header cannot"},
		{"signature that is kept", signed(func(s *Source) { s.KeepHeaders = []string{"x-signature"} }), "keep_headers[0]: this header carries"},
		{"signature that is read", signed(func(s *Source) { s.Connector.KeyHeader = "X-Signature" }), "auth.hmac.header: connector signing needs this header"},
		{"no shared secret", signed(func(s *Source) { s.Auth.Values = nil }), "auth.hmac.secrets: is missing"},
		{"short shared secret", signed(func(s *Source) { s.Auth.Values = secret.List("", key, "1234567") }), "auth.hmac.secrets[2]: is shorter than 8 bytes"},
		{"many shared secrets", signed(func(s *Source) { s.Auth.Values = secret.List(strings.Split(strings.Repeat(key+",", 17), ",")...) }), "auth.hmac.secrets: must be at most 16"},
		{"odd algorithm", signed(func(s *Source) { s.Auth.HMAC = &connectors.HMAC{Algorithm: "md5"} }), "auth.hmac.algorithm: must be sha1"},
		{"odd template", signed(func(s *Source) { s.Auth.HMAC = &connectors.HMAC{Signed: "{body}"} }), "auth.hmac.signed: must have {timestamp}"},
		{"base without scheme", signed(func(s *Source) { s.Auth.PublicURL = "hooks.example" }), "auth.hmac.public_url: must be a URL"},
		{"base with a query", signed(func(s *Source) { s.Auth.PublicURL = "https://hooks.example/?x" }), "auth.hmac.public_url: must be a URL"},
		{"base with a user", signed(func(s *Source) { s.Auth.PublicURL = "https://u:p@hooks.example" }), "auth.hmac.public_url: must be a URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.source.Name = "shop"
			problems := Resolve([]Source{tt.source})
			if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), tt.want) {
				t.Errorf("got %v, want %s…", problems, tt.want)
			}
			for _, p := range problems {
				if strings.Contains(p.String(), key) {
					t.Errorf("a secret is shown: %v", p)
				}
			}
		})
	}
}

// A name, and a header with a secret, concern all sources.
func TestProblemsAmongSources(t *testing.T) {
	plain, none := &connectors.Connector{Name: "plain"}, Auth{Scheme: SchemeNone}
	got := Resolve([]Source{
		{Name: "a", Connector: plain, Auth: none, KeepHeaders: []string{"X-Key"}},
		{Name: "b/c", Connector: plain, Auth: none},
		{Name: "a", Connector: plain, Auth: Auth{Scheme: SchemeHeader, Header: "x-key", Values: secret.List(key)}},
	})
	want := []Problem{
		{1, "name", "must be a segment of a path"},
		{2, "name", "is the name of sources[0], too"},
		{0, "keep_headers[0]", "this header carries a credential and is never kept"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
