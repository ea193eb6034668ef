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
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden errors in testdata")

// canary is in testdata wherever a secret may be, or may have been put by mistake.
const canary = "s3cret"

// known is what the connectors of these tests need. It is not what the real ones need.
var known = Connectors{
	"retino":      {Header: "X-Retino-Secret"},
	"kasafik":     {},
	"openloyalty": {Currency: true, MaxBody: 8 << 20, HMAC: &HMAC{Header: "X-Webhook-Signature"}, Kept: []string{"x-webhook-request-id"}},
	"dealpos":     {Currency: true, TimeZone: true},
	"linga":       {Currency: true, TimeZone: true, Header: "X-API-Key"},
	"signing": {Window: time.Minute, HMAC: &HMAC{
		Header: "X-Signature", Prefix: "v1=", Separator: ",", TimestampPrefix: "t=", Tolerance: time.Minute, Signed: "{timestamp}.{body}",
	}},
}

// checks stand in for the packages that know: the real ones are tested with the program.
var checks = Checks{
	HMAC: func(h HMAC, secret Secret) []Fault {
		var faults []Fault
		if strings.Contains(h.Signed, "{oops}") {
			faults = append(faults, Fault{"signed", "is not a template"})
		}
		if h.SecretEncoding == "hex" && strings.Contains(secret.Reveal(), "-") {
			faults = append(faults, Fault{secretKey, "is not hex"})
		}
		return faults
	},
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
	return parse("bridge.yaml", []byte(s.parts["bridge.yaml"]), s.expander(), known, checks)
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

func secrets(values ...string) []Secret {
	var s []Secret
	for _, v := range values {
		s = append(s, NewSecret(v))
	}
	return s
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

var compareZones = cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })

// What is not set has its default, and what is set by reference has its value.
func TestDefaults(t *testing.T) {
	got, err := readStory(t, "testdata/good/architecture.txtar").parse()
	if err != nil {
		t.Fatal(err)
	}
	limits := Limits{Body: 1 << 20, InFlight: 64 << 20}
	alarms := Alarms{UnauthorizedPercent: 50, Quarantined: 1}
	header := func(name string, values ...string) Auth {
		return Auth{Scheme: SchemeHeader, Header: name, Values: secrets(values...)}
	}
	want := &Config{
		Listen: Listen{
			Webhooks: Listener{Addr: ":8080"},
			Ops:      Listener{Addr: ":8081"},
			GRPC:     Listener{Addr: "127.0.0.1:9090"},
			Admin:    Listener{Addr: "127.0.0.1:8082"},
		},
		Journal: Journal{
			Dir: "./bridge-data", Age: 168 * time.Hour, Size: 8 << 30, QuarantineAge: 720 * time.Hour, MinFree: 512 << 20,
		},
		Sources: []Source{
			{Name: "returns", Connector: "retino", Auth: header("X-Retino-Secret", "r"), Zone: time.UTC, Limits: limits, Alarms: alarms},
			{
				Name: "till-prague", Connector: "kasafik", Zone: time.UTC, Limits: limits, Alarms: alarms,
				Auth: Auth{Scheme: SchemePathToken, Values: secrets("0123456789abcdef")},
			},
			{
				Name: "loyalty", Connector: "openloyalty", Auth: header("X-Loyalty-Token", "new"), Currency: "EUR",
				Zone: time.UTC, Limits: Limits{Body: 8 << 20, InFlight: 64 << 20}, Alarms: alarms,
			},
			{
				Name: "erp-jakarta", Connector: "dealpos", Auth: header("X-Api-Key", "d"), Currency: "IDR",
				Zone: zone(t, "Asia/Jakarta"), Limits: limits, Alarms: alarms,
			},
			{
				Name: "diner", Connector: "linga", Auth: header("X-Api-Key", "l"), Currency: "USD",
				Zone: zone(t, "America/New_York"), Limits: limits, Alarms: alarms,
			},
		},
		ShutdownTimeout: 10 * time.Second,
	}
	if diff := cmp.Diff(want, got, compareZones); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// Every key reaches the result.
func TestEveryKey(t *testing.T) {
	got, err := readStory(t, "testdata/good/full.txtar").parse()
	if err != nil {
		t.Fatal(err)
	}
	limits, alarms := Limits{Body: 1 << 20, InFlight: 64 << 20}, Alarms{UnauthorizedPercent: 50, Quarantined: 1}
	want := &Config{
		Listen: Listen{
			Webhooks: Listener{Addr: "127.0.0.1:1080"},
			Ops:      Listener{Addr: "[::1]:1081"},
			GRPC:     Listener{Addr: "0.0.0.0:1090"},
			Admin:    Listener{Addr: ":1082"},
		},
		Journal: Journal{
			Dir: "/var/lib/bridge-of-tests", Age: 36 * time.Hour, Size: 3 << 29, QuarantineAge: 2160 * time.Hour, MinFree: 64e6,
		},
		Sources: []Source{
			{
				Name: "open", Connector: "retino", Auth: Auth{Scheme: SchemeNone}, Zone: time.UTC, GRPC: true,
				Limits:      Limits{Body: 2 << 20, Rate: 5, InFlight: 8 << 20, Daily: 1e9},
				KeepHeaders: []string{"X-Request-Id", "X-Retino-Attempt"},
				Window:      36 * time.Hour,
				Alarms:      Alarms{SilentAfter: 15 * time.Minute, Quarantined: 20},
			},
			{
				Name: "open-by-default", Connector: "retino", Auth: Auth{Scheme: SchemeNone}, Zone: time.UTC, Reject: true,
				Limits: Limits{Body: 64 << 10, Rate: 20, InFlight: 64 << 20, Daily: 64 << 20},
				Alarms: Alarms{UnauthorizedPercent: 100},
			},
			{
				Name: "strict", Connector: "openloyalty", Currency: "EUR", Zone: time.UTC, Reject: true,
				Auth:   Auth{Scheme: SchemeHeader, Header: "X-Loyalty-Token", Values: secrets("pa$word$", "0123")},
				Limits: Limits{Body: 8 << 20, InFlight: 64 << 20},
				Alarms: alarms,
			},
			{
				Name: "header-of-the-vendor", Connector: "linga", Currency: "USD", Zone: time.UTC, Limits: limits, Alarms: alarms,
				Auth: Auth{Scheme: SchemeHeader, Header: "X-Api-Key", Values: secrets("0123")},
			},
			{
				Name: "signed", Connector: "signing", Zone: time.UTC, Window: 2 * time.Minute, Limits: limits, Alarms: alarms,
				Auth: Auth{Scheme: SchemeHMAC, Header: "X-Signature", Values: secrets("01234567"), HMAC: known["signing"].HMAC},
			},
			{
				Name: "signed-otherwise", Connector: "signing", Zone: time.UTC, Window: 3 * time.Minute, Limits: limits, Alarms: alarms,
				Auth: Auth{
					Scheme: SchemeHMAC, Header: "X-Other", Values: secrets("whsec_0123", "whsec_4567"), PublicURL: "https://hooks.example.com/in",
					HMAC: &HMAC{
						Header: "x-other", Algorithm: "sha512", Encoding: "base64", Prefix: "v2 ", Separator: ";", SecretPrefix: "whsec_",
						SecretEncoding: "hex", TimestampHeader: "X-Time", TimestampUnit: "ms", Tolerance: 90 * time.Second,
						Signed: "{header.x-time}\n{body}",
					},
				},
			},
		},
		Log:             Log{Format: "json", Level: slog.LevelWarn},
		Access:          Access{Tokens: secrets("0123456789abcdef"), AdminTokens: secrets("abcdef0123456789"), Insecure: true},
		ShutdownTimeout: 90 * time.Second,
	}
	if diff := cmp.Diff(want, got, compareZones); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// With a header of its own a signature is another one than the connector's, of which nothing is left.
func TestAnotherSignature(t *testing.T) {
	parse := func(settings string) (*Source, error) {
		t.Helper()
		cfg, err := Parse("x.yaml", []byte("sources: [{name: a, connector: signing, "+settings+"}]\n"), os.LookupEnv, known, checks)
		if err != nil {
			return nil, err
		}
		return &cfg.Sources[0], nil
	}
	for settings, want := range map[string]struct {
		hmac   HMAC
		window time.Duration
	}{
		"auth: {hmac: {secrets: [01234567], header: X-Signature}}": {HMAC{Header: "X-Signature"}, 0},
		"auth: {hmac: {secrets: [01234567], prefix: v2=}}": {
			HMAC{Header: "X-Signature", Prefix: "v2=", Separator: ",", TimestampPrefix: "t=", Tolerance: time.Minute, Signed: "{timestamp}.{body}"}, 2 * time.Minute,
		},
		"auth: {hmac: {secrets: [01234567], header: S, timestamp: {header: T}}}": {
			HMAC{Header: "S", TimestampHeader: "T", Tolerance: 5 * time.Minute}, 10 * time.Minute,
		},
		"auth: {hmac: {secrets: [01234567], timestamp: {tolerance: 20s}}}": {
			HMAC{Header: "X-Signature", Prefix: "v1=", Separator: ",", TimestampPrefix: "t=", Tolerance: 20 * time.Second, Signed: "{timestamp}.{body}"}, 0,
		},
		"dedupe_window: 3s, auth: {hmac: {secrets: [01234567], header: S, timestamp: {header: T}}}": {
			HMAC{Header: "S", TimestampHeader: "T", Tolerance: 5 * time.Minute}, 3 * time.Second,
		},
	} {
		s, err := parse(settings)
		if err != nil {
			t.Errorf("%s: %v", settings, err)
			continue
		}
		if diff := cmp.Diff(&want.hmac, s.Auth.HMAC); diff != "" || s.Window != want.window {
			t.Errorf("%s: window %v, want %v (-want +got):\n%s", settings, s.Window, want.window, diff)
		}
	}
}

// The format is what the schema says, and so is what the documentation calls the problem's place.
func TestProblem(t *testing.T) {
	_, err := Parse("x.yaml", []byte("sources:\n  - name: A\n"), os.LookupEnv, Connectors{})
	want := `x.yaml:2:5: sources[0].auth: is missing
x.yaml:2:5: sources[0].connector: is missing
x.yaml:2:11: sources[0].name: must be 1 to 64 lower case letters, digits and inner dashes`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// A file of nothing but mistakes gets a report that ends.
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
