package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vault is a folder of secrets, and the configuration that refers to them.
type vault struct {
	*Reloader

	dir string
	cfg *Config
}

func newVault(t *testing.T, files map[string]string, text string) *vault {
	t.Helper()
	v := &vault{dir: t.TempDir()}
	for name, content := range files {
		v.write(t, name, content)
	}
	cfg, err := Parse("bridge.yaml", []byte(strings.ReplaceAll(text, "DIR", v.dir)), os.LookupEnv, known)
	if err != nil {
		t.Fatal(err)
	}
	v.cfg, v.Reloader = cfg, NewReloader(cfg)
	return v
}

func (v *vault) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// texts are the secrets by source and key.
func (v *vault) texts() map[string]string {
	all := map[string]string{}
	for _, s := range v.cfg.Secrets() {
		all[strings.TrimPrefix(s.Source+" "+s.Key, " ")] = s.Value.Reveal()
	}
	return all
}

const everySecret = `
sources:
  - name: a
    connector: retino
    auth: {header: {values: ["${file:DIR/header}", "${FIXED_BY_ENV:-fixed}", "${file:DIR/empty}"]}}
  - name: b
    connector: kasafik
    auth: {path_token: {values: ["${file:DIR/token}"]}}
  - name: c
    connector: signing
    auth: {hmac: {secrets: ["${file:DIR/signed}", "before-${file:DIR/old}"], secret_encoding: text}}
access: {tokens: ["${file:DIR/access}"], admin_tokens: ["${file:DIR/admin}"]}
sinks:
  - name: k
    kafka: {brokers: ["127.0.0.1:9092"], topic: t, sasl: {mechanism: PLAIN, username: u, password: "${file:DIR/kafka}"}}
`

func everyFile() map[string]string {
	return map[string]string{
		"header": "header-1\n", "empty": "", "token": "token-0123456789-1", "signed": "signed-1", "old": "old-1",
		"access": "access-0123456789-1", "admin": "admin-0123456789-1", "kafka": "kafka-1\r\n",
	}
}

// TestReload: every kind of secret follows its file, also one that was empty; a default of the environment does not.
func TestReload(t *testing.T) {
	v := newVault(t, everyFile(), everySecret)
	want := map[string]string{
		"a auth.header.values[0]": "header-1", "a auth.header.values[1]": "fixed", "a auth.header.values[2]": "",
		"b auth.path_token.values[0]": "token-0123456789-1", "c auth.hmac.secrets[0]": "signed-1", "c auth.hmac.secrets[1]": "before-old-1",
		"access.tokens[0]": "access-0123456789-1", "access.admin_tokens[0]": "admin-0123456789-1", "sinks[0].kafka.sasl.password": "kafka-1",
	}
	if diff := cmp.Diff(want, v.texts()); diff != "" {
		t.Fatalf("at the start (-want +got):\n%s", diff)
	}
	if done := v.Reload(); len(done.Changed)+len(done.Refused) > 0 {
		t.Errorf("nothing has changed: %v", done)
	}
	for name, content := range everyFile() {
		v.write(t, name, strings.Replace(content, "1", "2", 1)+"\n")
	}
	v.write(t, "empty", "filled")
	v.cfg.Sources[0].Auth.Values[0].Use(time.Unix(1000, 0))
	if done := v.Reload(); len(done.Changed) != 8 || len(done.Refused) != 0 {
		t.Errorf("changed: %+v", done)
	}
	for key, text := range want {
		want[key] = strings.Replace(text, "1", "2", 1)
	}
	want["a auth.header.values[2]"] = "filled"
	for key := range want {
		if strings.Contains(key, "values[1]") {
			want[key] = "fixed"
		}
	}
	if diff := cmp.Diff(want, v.texts()); diff != "" {
		t.Errorf("reloaded (-want +got):\n%s", diff)
	}
	if at := v.cfg.Sources[0].Auth.Values[0].LastUsed(); !at.IsZero() {
		t.Errorf("the new secret was used at %v", at)
	}
}

// TestReloadRefuses: what no start would accept, and an empty file, is refused, and the old secret stays. Others change.
func TestReloadRefuses(t *testing.T) {
	for _, tt := range []struct {
		file, content, place, reason string
	}{
		{"header", "", "sources[0].auth.header.values[0]", "the file it refers to is empty"},
		{"header", "\n", "sources[0].auth.header.values[0]", "the file it refers to is empty"},
		{"header", "a\nb", "sources[0].auth.header.values[0]", "holds a line break or another character that no header can carry"},
		{"header", "\xff", "sources[0].auth.header.values[0]", "the file it refers to is not UTF-8 text"},
		{"token", "short", "sources[1].auth.path_token.values[0]", "must be at least 16 and at most 4096 characters"},
		{"signed", "short", "sources[2].auth.hmac.secrets[0]", "is shorter than 8 bytes, without its prefix and once decoded"},
		{"access", "not a token, is it", "access.tokens[0]", "may only hold A-Z, a-z, 0-9, and -._~+/="},
		{"admin", "", "access.admin_tokens[0]", "every value is empty; one must be left"},
		{"kafka", "", "sinks[0].kafka.sasl.password", "the file it refers to is empty"},
		{"kafka", "gone", "sinks[0].kafka.sasl.password", "the file it refers to does not exist"},
	} {
		t.Run(tt.file+" "+tt.content, func(t *testing.T) {
			v := newVault(t, everyFile(), everySecret)
			before := v.texts()
			v.write(t, tt.file, tt.content)
			if tt.content == "gone" {
				if err := os.Remove(filepath.Join(v.dir, tt.file)); err != nil {
					t.Fatal(err)
				}
			}
			v.write(t, "old", "old-2")
			var done Reloaded
			for range 4 {
				now := v.Poll()
				done.Changed, done.Refused = append(done.Changed, now.Changed...), append(done.Refused, now.Refused...)
			}
			if len(done.Changed) != 1 || len(done.Refused) != 1 || done.Refused[0].Path != tt.place || !strings.Contains(done.Refused[0].Reason, tt.reason) {
				t.Errorf("%+v", done)
			}
			before["c auth.hmac.secrets[1]"] = "before-old-2"
			if diff := cmp.Diff(before, v.texts()); diff != "" {
				t.Errorf("texts (-want +got):\n%s", diff)
			}
			refused := 0
			for _, s := range v.cfg.Secrets() {
				if s.Value.Refused() {
					refused++
				}
			}
			if refused != 1 {
				t.Errorf("%d secrets are marked", refused)
			}
			if done := v.Reload(); len(done.Refused) != 1 {
				t.Errorf("asked again: %+v", done)
			}
			v.write(t, tt.file, everyFile()[tt.file])
			if done := v.Reload(); len(done.Changed) != 0 || len(done.Refused) != 0 {
				t.Errorf("put back: %+v", done)
			}
			for _, s := range v.cfg.Secrets() {
				if s.Value.Refused() {
					t.Errorf("%s is still marked", s.Key)
				}
			}
		})
	}
}

// TestPollWaitsForWholeFiles: a change counts once two looks have seen it. A symbolic link that points elsewhere is a change.
func TestPollWaitsForWholeFiles(t *testing.T) {
	v := newVault(t, everyFile(), everySecret)
	text := func() string { return v.cfg.Sources[0].Auth.Values[0].Reveal() }
	for i := range 5 {
		v.write(t, "header", fmt.Sprintf("half-%d", i))
		if v.Poll(); text() != "header-1" {
			t.Fatalf("taken while it is written: %s", text())
		}
	}
	if v.Poll(); text() != "half-4" {
		t.Errorf("not taken: %s", text())
	}
	v.write(t, "header-new", "by-link")
	path := filepath.Join(v.dir, "header")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("header-new", path); err != nil {
		t.Fatal(err)
	}
	v.Poll()
	if v.Poll(); text() != "by-link" {
		t.Errorf("a link was not followed: %s", text())
	}
}
