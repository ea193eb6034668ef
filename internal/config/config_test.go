package config

import (
	"bufio"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

var update = flag.Bool("update", false, "rewrite the golden errors in testdata")

// canary is in testdata at each place where a secret may be, also by mistake.
const canary = "s3cret"

// known are the connectors of these tests. They are not the real ones.
var known = named(
	&connectors.Connector{Name: "retino", EventField: "event_type", Verification: connectors.Verification{Header: "X-Retino-Secret"}},
	&connectors.Connector{Name: "kasafik", EventField: "_t", NeedsHTTPS: true},
	&connectors.Connector{
		Name: "openloyalty", NeedsCurrency: true, MaxBody: 8 << 20, EventField: "type", KeyHeader: "x-webhook-request-id",
		Verification: connectors.Verification{HMAC: &connectors.HMAC{
			Header: "X-Webhook-Signature", Signed: "{header.X-Webhook-Request-Id}.{body}",
		}},
	},
	&connectors.Connector{Name: "dealpos", NeedsCurrency: true, NeedsTimeZone: true},
	&connectors.Connector{
		Name: "linga", NeedsCurrency: true, NeedsTimeZone: true, Verification: connectors.Verification{Header: "X-API-Key"},
	},
	&connectors.Connector{Name: "signing", EventField: "type", Window: time.Minute, Verification: connectors.Verification{HMAC: &connectors.HMAC{
		Header: "X-Signature", Prefix: "v1=", Separator: ",", TimestampPrefix: "t=", Tolerance: time.Minute, Signed: "{timestamp}.{body}",
	}}},
)

func named(all ...*connectors.Connector) map[string]*connectors.Connector {
	byName := make(map[string]*connectors.Connector, len(all))
	for _, c := range all {
		byName[c.Name] = c
	}
	return byName
}

// story is one file of testdata: a configuration with the environment and files it refers to.
type story struct {
	path    string
	archive *txtar.Archive
	parts   map[string]string
}

func readStories(tb testing.TB, pattern string) []story {
	tb.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no stories in %s: %v", pattern, err)
	}
	stories := make([]story, len(paths))
	for i, path := range paths {
		stories[i] = readStory(tb, path)
	}
	return stories
}

// readSeeds returns the configurations alone.
func readSeeds(tb testing.TB, pattern string) []string {
	tb.Helper()
	var seeds []string
	for _, s := range readStories(tb, pattern) {
		seeds = append(seeds, s.parts["bridge.yaml"])
	}
	return seeds
}

func readStory(tb testing.TB, path string) story {
	tb.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	s := story{path: path, archive: archive, parts: map[string]string{}}
	for _, f := range archive.Files {
		s.parts[f.Name] = string(f.Data)
	}
	return s
}

func (s story) parse() (*Config, error) {
	return parse("bridge.yaml", []byte(s.parts["bridge.yaml"]), s.expander(), known)
}

func (s story) expander() expander {
	env := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(s.parts["env"])); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		env[name] = value
	}
	return expander{
		env: func(name string) (string, bool) { value, ok := env[name]; return value, ok },
		readFile: func(path string) ([]byte, error) {
			if path == "/binary" {
				return []byte{0xff, 0xfe}, nil
			}
			if data, ok := s.parts[path]; ok {
				return []byte(data), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

// Every broken configuration gets exactly the errors that its file lists, and none holds a secret.
func TestErrors(t *testing.T) {
	for _, s := range readStories(t, "testdata/bad/*.txtar") {
		t.Run(filepath.Base(s.path), func(t *testing.T) {
			_, err := s.parse()
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error() + "\n"
			if strings.Contains(got, canary) {
				t.Errorf("a secret is printed:\n%s", got)
			}
			if *update {
				s.rewrite(t, got)
				return
			}
			if diff := cmp.Diff(s.parts["errors"], got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func (s story) rewrite(t *testing.T, errors string) {
	t.Helper()
	files := slices.DeleteFunc(s.archive.Files, func(f txtar.File) bool { return f.Name == "errors" })
	files = append(files, txtar.File{Name: "errors", Data: []byte(errors)})
	s.archive.Files = files
	if err := os.WriteFile(s.path, txtar.Format(s.archive), 0o600); err != nil {
		t.Fatal(err)
	}
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

var compare = cmp.Options{
	cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() }),
	cmp.Comparer(func(a, b *connectors.Connector) bool { return a == b }),
	cmpopts.IgnoreUnexported(Config{}),
}

// A key that is not set has its default, and a reference has its value.
func TestDefaults(t *testing.T) {
	got, err := readStory(t, "testdata/good/architecture.txtar").parse()
	if err != nil {
		t.Fatal(err)
	}
	limits := source.Limits{Body: 1 << 20, InFlight: 64 << 20}
	alerts := source.Alerts{UnauthorizedPercent: 50, Quarantined: 1}
	header := func(name string, values ...string) source.Auth {
		return source.Auth{Scheme: source.SchemeHeader, Header: name, Values: secret.List(values...)}
	}
	want := &Config{
		Listen: Listen{
			Webhooks: Listener{Addr: ":8080"},
			Ops:      Listener{Addr: ":8081"},
			GRPC:     Listener{Addr: "127.0.0.1:9090"},
			Admin:    Listener{Addr: "127.0.0.1:8082"},
		},
		Journal: Journal{
			Dir: "./bridge-data", Age: 168 * time.Hour, Size: 8 << 30, QuarantineAge: 720 * time.Hour, ParkedAge: 720 * time.Hour, MinFree: 512 << 20,
		},
		Sources: []source.Source{
			{Name: "returns", Connector: known["retino"], Auth: header("X-Retino-Secret", "r"), Zone: time.UTC, Limits: limits, Alerts: alerts, Window: 2 * time.Minute},
			{
				Name: "till-prague", Connector: known["kasafik"], Zone: time.UTC, Limits: limits, Alerts: alerts, Window: 2 * time.Minute,
				Auth: source.Auth{Scheme: source.SchemePathToken, Values: secret.List("0123456789abcdef")},
			},
			{
				Name: "loyalty", Connector: known["openloyalty"], Auth: header("X-Loyalty-Token", "new"), Currency: "EUR",
				Zone: time.UTC, Limits: source.Limits{Body: 8 << 20, InFlight: 64 << 20}, Alerts: alerts, Window: 2 * time.Minute,
			},
			{
				Name: "erp-jakarta", Connector: known["dealpos"], Auth: header("X-Api-Key", "d"), Currency: "IDR",
				Zone: zone(t, "Asia/Jakarta"), Limits: limits, Alerts: alerts, Window: 2 * time.Minute,
			},
			{
				Name: "diner", Connector: known["linga"], Auth: header("X-Api-Key", "l"), Currency: "USD",
				Zone: zone(t, "America/New_York"), Limits: limits, Alerts: alerts, Window: 2 * time.Minute,
			},
		},
		Streams:         Streams{MaxAge: time.Hour, MaxOpen: 256, MaxGroups: 1000, MaxMembers: 1000, Tail: 64 << 20},
		ShutdownTimeout: 10 * time.Second,
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// Every key reaches the result.
func TestEveryKey(t *testing.T) {
	got, err := readStory(t, "testdata/good/full.txtar").parse()
	if err != nil {
		t.Fatal(err)
	}
	limits, alerts := source.Limits{Body: 1 << 20, InFlight: 64 << 20}, source.Alerts{UnauthorizedPercent: 50, Quarantined: 1}
	vendors := known["signing"].Verification.HMAC.WithDefaults()
	want := &Config{
		Listen: Listen{
			Webhooks: Listener{Addr: "127.0.0.1:1080", Connections: 1000},
			Ops:      Listener{Addr: "[::1]:1081", Connections: 10},
			GRPC:     Listener{Addr: "0.0.0.0:1090", Connections: 200},
			Admin:    Listener{Addr: ":1082", Connections: 20},

			PublicURL: "https://bridge.example.com",
		},
		Journal: Journal{
			Dir: "/var/lib/bridge-of-tests", Age: 36 * time.Hour, Size: 3 << 29, QuarantineAge: 2160 * time.Hour, ParkedAge: 360 * time.Hour, MinFree: 64e6,
		},
		Sources: []source.Source{
			{
				Name: "open", Connector: known["retino"], Auth: source.Auth{Scheme: source.SchemeNone}, Zone: time.UTC, GRPC: true,
				Limits:      source.Limits{Body: 2 << 20, Rate: 5, InFlight: 8 << 20, Daily: 1e9},
				KeepHeaders: []string{"X-Request-Id", "X-Retino-Attempt"},
				Window:      36 * time.Hour,
				Alerts:      source.Alerts{SilentAfter: 15 * time.Minute, Quarantined: 20},
			},
			{
				Name: "open-by-default", Connector: known["retino"], Auth: source.Auth{Scheme: source.SchemeNone}, Zone: time.UTC, Reject: true,
				Window: 2 * time.Minute,
				Limits: source.Limits{Body: 64 << 10, Rate: 20, InFlight: 64 << 20, Daily: 64 << 20},
				Alerts: source.Alerts{UnauthorizedPercent: 100},
			},
			{
				Name: "strict", Connector: known["openloyalty"], Currency: "EUR", Zone: time.UTC, Reject: true,
				Auth:   source.Auth{Scheme: source.SchemeHeader, Header: "X-Loyalty-Token", Values: secret.List("pa$word$", "0123")},
				Limits: source.Limits{Body: 8 << 20, InFlight: 64 << 20}, Window: 2 * time.Minute,
				Alerts: alerts,
			},
			{
				Name: "header-of-the-vendor", Connector: known["linga"], Currency: "USD", Zone: time.UTC, Limits: limits, Alerts: alerts, Window: 2 * time.Minute,
				Auth: source.Auth{Scheme: source.SchemeHeader, Header: "X-Api-Key", Values: secret.List("0123")},
			},
			{
				Name: "signed", Connector: known["signing"], Zone: time.UTC, Window: 2 * time.Minute, Limits: limits, Alerts: alerts,
				Auth: source.Auth{
					Scheme: source.SchemeHMAC, Header: "X-Signature", Values: secret.List("01234567"), HMAC: &vendors,
					PublicURL: "https://bridge.example.com",
				},
				UnsignedEventName: true,
			},
			{
				Name: "signed-otherwise", Connector: known["signing"], Zone: time.UTC, Window: 3 * time.Minute, Limits: limits, Alerts: alerts,
				Auth: source.Auth{
					Scheme: source.SchemeHMAC, Header: "X-Other", Values: secret.List("whsec_0123456789abcdef", "whsec_fedcba9876543210"), PublicURL: "https://hooks.example.com/in",
					HMAC: &connectors.HMAC{
						Header: "x-other", Algorithm: "sha512", Encoding: "base64", Prefix: "v2 ", Separator: ";", SecretPrefix: "whsec_",
						SecretEncoding: "hex", TimestampHeader: "X-Time", TimestampUnit: "ms", Tolerance: 90 * time.Second,
						Signed: "{header.x-time}\n{body}",
					},
				},
				UnsignedDeliveryID: true,
			},
		},
		Log: Log{Format: "json", Level: slog.LevelWarn},
		Access: Access{
			Tokens: secret.List("0123456789abcdef"), AdminTokens: secret.List("abcdef0123456789"), Insecure: true,
			Origins: []string{"https://app.example", "http://localhost:3000"},
		},
		Streams:         Streams{MaxAge: 20 * time.Minute, MaxOpen: 40, MaxGroups: 30, MaxMembers: 20, Tail: 2 << 20},
		ShutdownTimeout: 90 * time.Second,
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// A signature with a header of its own replaces the connector's signature as a whole.
func TestAnotherSignature(t *testing.T) {
	parse := func(settings string) (*source.Source, error) {
		t.Helper()
		cfg, err := Parse("x.yaml", []byte("sources: [{name: a, connector: signing, "+settings+"}]\n"), os.LookupEnv, known)
		if err != nil {
			return nil, err
		}
		return &cfg.Sources[0], nil
	}
	for settings, want := range map[string]struct {
		hmac   connectors.HMAC
		window time.Duration
	}{
		"auth: {hmac: {secrets: [01234567], header: X-Signature}}": {connectors.HMAC{Header: "X-Signature"}, time.Minute},
		"auth: {hmac: {secrets: [01234567], prefix: v2=}}": {
			connectors.HMAC{Header: "X-Signature", Prefix: "v2=", Separator: ",", TimestampPrefix: "t=", Tolerance: time.Minute, Signed: "{timestamp}.{body}"}, 2 * time.Minute,
		},
		`auth: {hmac: {secrets: ["01234567"], header: S, signed: "{timestamp}{body}", timestamp: {header: T}}}`: {
			connectors.HMAC{Header: "S", Signed: "{timestamp}{body}", TimestampHeader: "T", Tolerance: 5 * time.Minute}, 10 * time.Minute,
		},
		"auth: {hmac: {secrets: [01234567], timestamp: {tolerance: 20s}}}": {
			connectors.HMAC{Header: "X-Signature", Prefix: "v1=", Separator: ",", TimestampPrefix: "t=", Tolerance: 20 * time.Second, Signed: "{timestamp}.{body}"}, time.Minute,
		},
		`dedupe_window: 3s, auth: {hmac: {secrets: ["01234567"], header: S, signed: "{timestamp}{body}", timestamp: {header: T}}}`: {
			connectors.HMAC{Header: "S", Signed: "{timestamp}{body}", TimestampHeader: "T", Tolerance: 5 * time.Minute}, 3 * time.Second,
		},
	} {
		s, err := parse(settings)
		if err != nil {
			t.Errorf("%s: %v", settings, err)
			continue
		}
		if diff := cmp.Diff(want.hmac.WithDefaults(), *s.Auth.HMAC); diff != "" || s.Window != want.window {
			t.Errorf("%s: window %v, want %v (-want +got):\n%s", settings, s.Window, want.window, diff)
		}
	}
}

// The text of a problem has the form that the documentation describes.
func TestProblem(t *testing.T) {
	_, err := Parse("x.yaml", []byte("sources:\n  - name: A\n"), os.LookupEnv, nil)
	want := `x.yaml:2:5: sources[0].auth: is missing
x.yaml:2:5: sources[0].connector: is missing
x.yaml:2:11: sources[0].name: must be 1 to 64 lower case letters, digits and inner dashes`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// A file with only mistakes gets a report of limited size.
func TestProblemsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	_, err := Parse("x.yaml", []byte(b.String()), os.LookupEnv, known)
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != maxProblems {
		t.Errorf("%d problems, want %d", n, maxProblems)
	}
}

func TestTooLarge(t *testing.T) {
	for _, test := range []struct {
		size int
		want string
	}{
		{maxFile, "x.yaml:1:1: sources: is missing"},
		{maxFile + 1, "x.yaml: is larger than 1Mi"},
	} {
		data := []byte(strings.Repeat("#", test.size))
		if _, err := Parse("x.yaml", data, os.LookupEnv, known); fmt.Sprint(err) != test.want {
			t.Errorf("%d bytes: got %v, want %s", test.size, err, test.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bridge.yaml")
	if _, err := Load(path, os.LookupEnv, known); err == nil || !strings.HasPrefix(err.Error(), "config: ") {
		t.Errorf("no file: %v", err)
	}
	token := filepath.Join(dir, "token")
	write(t, token, "0123456789abcdef\r\n")
	write(t, path, "sources: [{name: a, connector: kasafik, auth: {path_token: {values: ['${file:"+token+"}']}}}]\n")
	cfg, err := Load(path, os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Sources[0].Auth.Values[0].Reveal(); got != "0123456789abcdef" {
		t.Errorf("token is %q", got)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
