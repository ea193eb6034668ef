package pebble

import (
	"archive/tar"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"google.golang.org/protobuf/encoding/protojson"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// manifest is testdata/format1.json: what is in a folder of format 1.
type manifest struct {
	ID     string
	Bounds struct{ Earliest, Next sinks.Position }
	OpenAt time.Time `json:"open_at"`
	Events []struct {
		Position    sinks.Position
		CommittedAt time.Time `json:"committed_at"`
		Encoded     []byte
	}
	Webhooks    []struct{ Webhook json.RawMessage }
	Drift       []json.RawMessage
	Corrections []struct {
		WebhookID string `json:"webhook_id"`
		Index     uint32
		Position  sinks.Position
	}
	Resend []struct {
		Name  string
		Parts []struct {
			Key      string
			BodyHash string `json:"body_hash"`
			Window   string
			InWindow bool `json:"in_window"`
		}
	}
}

// oldFolder unpacks the folder of format 1, and returns a configuration that opens it, at the time that the manifest names.
func oldFolder(t *testing.T) (Config, *clock, *manifest) {
	t.Helper()
	m := new(manifest)
	b, err := os.ReadFile("testdata/format1.json")
	if err := errors.Join(err, json.Unmarshal(b, m)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unpack(t, "testdata/format1.tar.gz", dir)
	found, err := filepath.Glob(filepath.Join(dir, "*", "CURRENT"))
	if more, _ := filepath.Glob(filepath.Join(dir, "*", "marker.*")); len(found) == 0 {
		found = more
	}
	if err == nil && len(found) > 0 {
		dir = filepath.Dir(found[0])
	}
	c := newClock()
	c.ns.Store(m.OpenAt.UnixNano())
	cfg := testConfig(vfs.Default)
	cfg.Dir, cfg.Now = dir, c.Now
	return cfg, c, m
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(name, 0o700)
		} else {
			var b []byte
			b, err = io.ReadAll(r)
			err = errors.Join(err, os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, b, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpgrade opens a folder of format 1. Everything in it is there, and stays there; afterwards it has the new format.
func TestUpgrade(t *testing.T) {
	cfg, _, m := oldFolder(t)
	for n := range 2 {
		j := open(t, cfg)
		makeGroup(t, j, fmt.Sprint("group ", n))
		diff(t, "identity", j.ID(), m.ID)
		diff(t, "bounds", j.Bounds(), sinks.Bounds{Earliest: m.Bounds.Earliest, Next: m.Bounds.Next})
		records := readAll(t, j)
		diff(t, "events", len(records), len(m.Events))
		for i, want := range m.Events {
			diff(t, "position", records[i].Position, want.Position)
			diff(t, "event", records[i].Encoded, want.Encoded)
			diff(t, "commit time", commitTimeOf(t, j, want.Position), want.CommittedAt)
		}
		var webhooks []*journalv1.Webhook
		for _, w := range m.Webhooks {
			webhooks = append(webhooks, fromJSON(t, w.Webhook, new(journalv1.Webhook)))
		}
		diff(t, "webhooks", allWebhooks(t, j), webhooks)
		var counts []*journalv1.DriftCount
		for _, d := range m.Drift {
			counts = append(counts, fromJSON(t, d, new(journalv1.DriftCount)))
		}
		diff(t, "drift", drift(t, j), counts)
		corrections := make(map[string][]journal.Correction)
		for _, c := range m.Corrections {
			corrections[c.WebhookID] = append(corrections[c.WebhookID], journal.Correction{Index: c.Index, Position: c.Position})
		}
		for id, want := range corrections {
			got, err := j.Corrections(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "corrections", got, want)
		}
		// A token of the old version names no epoch.
		wantErr(t, "old token", j.Resolve(t.Context(), sinks.Mark{Position: m.Bounds.Next}), nil)
		wantErr(t, "new token", j.Resolve(t.Context(), j.Mark(m.Bounds.Earliest+1)), nil)
		v, err := j.store.get(keyFormat)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "format", v, []byte{0, 0, 0, format})
		shut(t, j)
	}
}

func fromJSON[M interface {
	*journalv1.Webhook | *journalv1.DriftCount
}](t *testing.T, b []byte, m M) M {
	t.Helper()
	var err error
	switch m := any(m).(type) {
	case *journalv1.Webhook:
		err = protojson.Unmarshal(b, m)
	case *journalv1.DriftCount:
		err = protojson.Unmarshal(b, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestUpgradeKeepsKeys: the contents under the keys of an old folder are known for as long as they were, also when the clock is
// put back after the upgrade.
func TestUpgradeKeepsKeys(t *testing.T) {
	for name, step := range map[string]time.Duration{"as it was": 0, "clock put back": -3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			cfg, c, m := oldFolder(t)
			j := open(t, cfg)
			c.Advance(step)
			known, ended := 0, 0
			for i, r := range m.Resend {
				for k, part := range r.Parts {
					window, err := time.ParseDuration(part.Window)
					if err != nil {
						t.Fatal(err)
					}
					e := entry(1000*i+k, 10, 1)
					e.Keys[0] = journal.Key{Hash: hashOf(t, part.Key), Window: window}
					e.Bytes = hashOf(t, part.BodyHash)
					if !part.InWindow {
						e.Keys[0].LookupOnly = true
						ended++
					} else {
						known++
					}
					got, err := j.Append(t.Context(), e)
					if err != nil || step == 0 && got.Duplicate != part.InWindow {
						t.Errorf("%s, part %d: %+v, %v, want a duplicate: %v", r.Name, k, got, err, part.InWindow)
					}
					if part.InWindow && !got.Duplicate {
						t.Errorf("%s, part %d: %+v", r.Name, k, got)
					}
				}
			}
			if known == 0 || ended == 0 {
				t.Errorf("%d keys are known, of %d the window has ended", known, ended)
			}
		})
	}
}

func hashOf(t *testing.T, s string) journal.Hash {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return journal.Hash(b)
}

// TestUpgradeFails fails every write of the first opening, in turn. The folder stays one of the old format or becomes one of
// the new, and loses nothing.
func TestUpgradeFails(t *testing.T) {
	cfg, _, m := oldFolder(t)
	for n := int64(0); ; n++ {
		failing := cfg
		failing.Dir = filepath.Join(t.TempDir(), "journal")
		if err := os.CopyFS(failing.Dir, os.DirFS(cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		var count atomic.Int64
		failing.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if breaks(op.Kind) && count.Add(1)-1 == n {
				return errorfs.ErrInjected
			}
			return nil
		}))
		j, err := Open(t.Context(), failing)
		if err == nil {
			shut(t, j)
		}
		injected := count.Load() > n
		failing.FS = vfs.Default
		j = open(t, failing)
		diff(t, "bounds", j.Bounds(), sinks.Bounds{Earliest: m.Bounds.Earliest, Next: m.Bounds.Next})
		diff(t, "events", len(readAll(t, j)), len(m.Events))
		shut(t, j)
		if !injected {
			if n < 3 {
				t.Errorf("%d writes failed", n)
			}
			return
		}
	}
}
