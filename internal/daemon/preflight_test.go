package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/access"
	"github.com/webhook-bridge/bridge/internal/certs/certstest"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/source"
)

// TestPreflightFolders: a folder that can be created or written is fine, and nothing is created.
func TestPreflightFolders(t *testing.T) {
	dir := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	for _, name := range []string{"there", "locked"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"nothing": "gone", "by-link": "there"} {
		if err := os.Symlink(at(to), at(link)); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, dir)
	for _, tt := range []struct {
		journal, sink string
		want          []string
	}{
		{at("there"), at("there", "events.jsonl"), nil},
		{at("new"), at("file"), nil},
		{at("by-link", "new"), at("by-link", "events.jsonl"), nil},
		{at("a", "b"), at("there", "x"), []string{"0 journal.dir: neither the folder nor the one around it exists"}},
		{at("file"), at("there", "x"), []string{"2 journal.dir: is not a folder"}},
		{at("file", "a"), at("there", "x"), []string{"2 journal.dir: a part of its path is not a folder"}},
		{at("nothing"), at("there", "x"), []string{"2 journal.dir: the folder does not exist and cannot be created: a link in its path leads to nothing"}},
		{at("there"), at("new", "events.jsonl"), []string{"1 sinks[0].file.path: the folder does not exist"}},
		{at("there"), at("there"), []string{"1 sinks[0].file.path: is a folder, not a file"}},
		{at("there"), at("file", "x"), []string{"1 sinks[0].file.path: the folder around it: is not a folder"}},
		{at("there"), at("nothing"), []string{"1 sinks[0].file.path: is a link that leads to nothing"}},
		{at("there"), "/dev/null", []string{"1 sinks[0].file.path: is not a regular file"}},
	} {
		cfg := &config.Config{
			Journal: config.Journal{Dir: tt.journal}, Sinks: []config.Sink{{Name: "a", File: &config.File{Path: tt.sink}}},
		}
		wantFindings(t, cfg, tt.want)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("the check changed files (-before +after):\n%s", diff)
	}
	for err, want := range map[error]string{
		syscall.EROFS: "is on a file system that is read-only", syscall.EACCES: "may not be written to", syscall.EIO: "cannot be used: input/output error",
	} {
		if got := causeOf(&fs.PathError{Path: "/secret/path", Err: err}); got != want {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// TestPreflightReceiver: the host of a webhook sink must have an address that the sink does not refuse.
func TestPreflightReceiver(t *testing.T) {
	plugins := Plugins{Connectors: []*connectors.Connector{{Name: "acme", EventField: "type"}}, Sinks: []SinkKind{WebhookSink()}}
	for _, tt := range []struct{ settings, path string }{
		{"{url: https://localhost/CANARY}", "sinks[0].webhook.url"},
		{"{url: https://localhost/CANARY, allow: [127.0.0.1, \"::1\"]}", ""},
		{"{url: https://nowhere.invalid/, proxy: http://CANARY@localhost/}", "sinks[0].webhook.proxy"},
		{"{url: https://localhost/, proxy: http://localhost/, allow: [127.0.0.0/8, \"::1\"]}", ""},
	} {
		file := "sources: [{name: a, connector: acme, auth: {none: {}}}]\nsinks:\n  - name: out\n    webhook: " + tt.settings
		cfg, err := plugins.ParseConfig("bridge.yaml", []byte(file), os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, found := range plugins.Preflight(t.Context(), cfg, Probes{Lookups: true}) {
			paths = append(paths, found.Path)
			if found.Severity != Warning || !strings.Contains(found.Reason, "webhook.allow") || strings.Contains(found.Reason, "CANARY") {
				t.Errorf("%s: %v", tt.settings, found)
			}
		}
		if got := strings.Join(paths, " "); got != tt.path {
			t.Errorf("%s: findings at %q, want %q", tt.settings, got, tt.path)
		}
	}
}

// TestPreflightUnwritable: a folder that another user owns.
func TestPreflightUnwritable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// The effective user counts.
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setreuid(-1, 65534); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Setreuid(-1, 0); err != nil {
				panic(err)
			}
		}()
	}
	cfg := &config.Config{
		Journal: config.Journal{Dir: dir}, Sinks: []config.Sink{{Name: "a", Required: true, File: &config.File{Path: filepath.Join(dir, "x")}}},
	}
	wantFindings(t, cfg, []string{"2 journal.dir: the folder may not be written to", "2 sinks[0].file.path: the folder may not be written to"})
	cfg.Journal.Dir = filepath.Join(dir, "new")
	wantFindings(t, cfg, []string{
		"2 journal.dir: the folder may not be written to",
		"2 sinks[0].file.path: the folder may not be written to",
	})
}

func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, path+" "+info.ModTime().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantFindings checks the findings about files: severity, key and the beginning of the reason.
func wantFindings(t *testing.T, cfg *config.Config, want []string) {
	t.Helper()
	var got []string
	for _, f := range (Plugins{}).Preflight(t.Context(), cfg, Probes{Files: true}) {
		got = append(got, string('0'+rune(f.Severity))+" "+f.Path+": "+f.Reason)
	}
	if !slices.EqualFunc(want, got, func(want, got string) bool { return strings.HasPrefix(got, want) }) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestPreflightCertificatesAndSecrets: ends of certificates, permissions of files, and a secret that two sources share.
func TestPreflightCertificatesAndSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)
	open := write("open.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o644)
	cert := func(name string, from, to time.Duration) string {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return write(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	}
	const day = 24 * time.Hour
	listen := func(l config.Listener) *config.Config {
		return &config.Config{Journal: config.Journal{Dir: dir}, Listen: config.Listen{Webhooks: l}}
	}
	for _, tt := range []struct {
		cert, key string
		want      []string
	}{
		{cert("good", -day, 90*day), private, nil},
		{cert("open", -day, 90*day), open, []string{"0 listen.tls.webhooks.key_file: every user of this machine may read"}},
		{cert("soon", -day, 5*day), private, []string{"0 listen.tls.webhooks.cert_file: the certificate expires on "}},
		{cert("over", -9*day, -day), private, []string{"1 listen.tls.webhooks.cert_file: the certificate expired on "}},
		{cert("later", day, 90*day), private, []string{"1 listen.tls.webhooks.cert_file: the certificate is not valid before "}},
		{filepath.Join(dir, "gone"), private, []string{"1 listen.tls.webhooks.cert_file: the certificate and its key cannot be read"}},
	} {
		wantFindings(t, listen(config.Listener{TLS: &config.TLS{CertFile: tt.cert, KeyFile: tt.key}}), tt.want)
	}

	vendor := &connectors.Connector{Name: "acme", EventField: "type"}
	write("mine", []byte("a-secret-of-mine"), 0o600)
	write("all", []byte("a-secret-of-all"), 0o666)
	cfg, err := config.Parse("bridge.yaml", []byte(strings.ReplaceAll(`
journal: {dir: DIR}
listen: {webhooks: "127.0.0.1:0"}
sources:
  - {name: a, connector: acme, auth: {hmac: {header: S, secrets: ["${file:DIR/mine}"]}}}
  - {name: b, connector: acme, auth: {hmac: {header: S, secrets: ["${file:DIR/all}", "a-secret-of-mine"]}}}
  - {name: c, connector: acme, auth: {hmac: {header: S, secrets: ["a-secret-of-mine"], signed: "{url}{body}"}}}
`, "DIR", dir)), os.LookupEnv, map[string]*connectors.Connector{"acme": vendor})
	if err != nil {
		t.Fatal(err)
	}
	wantFindings(t, cfg, []string{
		"0 sources[1].auth.hmac.secrets: sources[0] has this secret too",
		"0 sources[1].auth.hmac.secrets[0]: other users may write the file with the secret (mode 0666)",
	})
}

// TestPreflightPrincipals: rights that lead nowhere, and authorities that vouch for nobody.
func TestPreflightPrincipals(t *testing.T) {
	authority := certstest.New(t, "authority")
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expiring := func(in time.Duration) []byte {
		c := authority.Issue(t, x509.Certificate{NotAfter: time.Now().Add(in)})
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	}
	cfg := &config.Config{
		Journal: config.Journal{Dir: t.TempDir()}, Sources: []source.Source{{Name: "erp-1", Connector: &connectors.Connector{}}},
		Access: config.Access{ClientCAFile: file, Principals: []access.Rules{
			{Name: "sender"},
			{Name: "good", Sources: []string{"erp-*", "*"}, Types: []string{"**"}},
			{Name: "half", Sources: []string{"erp-2", "erp-1"}},
			{Name: "other half", Types: []string{"**"}},
			{Name: "typo", Sources: []string{"*"}, Types: []string{"orders.*", "order.created", "*.created"}},
		}},
	}
	always := []string{
		"0 access.principals[2]: may see no event", "0 access.principals[2].sources[0]: matches no source", "0 access.principals[3]: may see no event",
		"0 access.principals[4].types[0]: matches no type of events; did you mean order.*?",
	}
	for _, tt := range []struct {
		text []byte
		want string
	}{
		{expiring(1000 * time.Hour), ""},
		{slices.Concat(expiring(-time.Minute), expiring(1000*time.Hour)), ""},
		{slices.Concat(expiring(time.Hour), expiring(2*time.Hour)), "0 access.client_ca_file: the last certificate in the file expires on"},
		{expiring(-time.Minute), "1 access.client_ca_file: no certificate in the file is valid now"},
		{[]byte("none"), "2 access.client_ca_file: the file has no certificate in PEM"},
	} {
		write(tt.text)
		want := always
		if tt.want != "" {
			want = append([]string{tt.want}, always...)
		}
		wantFindings(t, cfg, want)
	}
}
