package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// verified verifies a folder, and returns what is wrong.
func verified(t *testing.T, files vfs.FS) (Verification, []string) {
	t.Helper()
	var problems []string
	cfg := testConfig(files)
	cfg.tune = smallTables
	v, err := Verify(t.Context(), cfg, func(problem string) { problems = append(problems, problem) })
	if err != nil {
		t.Fatal(err)
	}
	if v.Problems != len(problems) {
		t.Errorf("%d problems counted, %q reported", v.Problems, problems)
	}
	return v, problems
}

func TestVerifyIntact(t *testing.T) {
	l := leave(t)
	before := contents(t, l.disk)
	v, problems := verified(t, l.disk)
	if len(problems) > 0 {
		t.Errorf("problems %q", problems)
	}
	diff(t, "events", v.Records["events"], uint64(len(events(l.entries...))))
	diff(t, "webhooks", v.Records["webhooks"]+v.Records["quarantined webhooks"], uint64(len(l.entries)))
	if v.Bytes == 0 || v.Files < 4 || v.ID == "" || int(v.Bounds.Next) != len(events(l.entries...))+1 {
		t.Errorf("verification %+v", v)
	}
	diff(t, "folder", contents(t, l.disk), before)
}

// TestVerifyFindsDamage damages whole files, and single records. Each is found, with its place.
func TestVerifyFindsDamage(t *testing.T) {
	l := leave(t)
	logs := l.names(t, ".log")
	tables, blobs := l.names(t, ".sst"), l.names(t, ".blob")
	for _, c := range []struct {
		what, file string
		change     func([]byte) []byte
		want       string
	}{
		{"newest log cut", logs[len(logs)-1], halved, "events are missing"},
		{"middle log removed", logs[1], removed, "are missing"},
		{"middle log flipped", logs[1], flipped, logs[1]},
		{"table flipped", tables[0], flipped, tables[0]},
		{"table removed", tables[0], removed, strings.TrimSuffix(tables[0], ".sst")},
		{"value file flipped", blobs[0], flipped, "webhook"},
		{"value file removed", blobs[0], removed, blobs[0]},
		{"value file cut", blobs[0], halved, blobs[0]},
		{"watermark flipped", watermarkName, flipped, watermarkName},
		{"watermark removed", watermarkName, removed, watermarkName},
	} {
		t.Run(c.what, func(t *testing.T) {
			v, problems := verified(t, l.copied(t, c.file, c.change))
			if !v.Damaged() || !strings.Contains(strings.Join(problems, "\n"), c.want) {
				t.Errorf("problems %q, want …%s…", problems, c.want)
			}
		})
	}
}

func TestVerifyFindsWrongRecords(t *testing.T) {
	id, err := journal.ParseID(webhookID(2))
	if err != nil {
		t.Fatal(err)
	}
	set := func(k, value []byte) func(*pebble.Batch) error {
		return func(b *pebble.Batch) error { return b.Set(k, value, nil) }
	}
	for _, c := range []struct {
		what   string
		change func(*pebble.Batch) error
		want   string
	}{
		{"event gone", func(b *pebble.Batch) error { return b.Delete(eventKey(2), nil) }, "positions 2 to 2 are missing"},
		{"last event gone", func(b *pebble.Batch) error { return b.Delete(eventKey(4), nil) }, "4"},
		{"first event gone", func(b *pebble.Batch) error { return b.Delete(eventKey(1), nil) }, "positions 1 to 1 are missing"},
		{"event of nonsense", set(eventKey(2), []byte("12345678\x12\xff")), "position 2"},
		{"event too short", set(eventKey(2), []byte("1")), "position 2"},
		{"webhook gone", func(b *pebble.Batch) error { return b.Delete(webhookKey(prefixWebhook, id), nil) }, "its webhook " + id.String() + " is missing"},
		{"webhook of nonsense", set(webhookKey(prefixWebhook, id), []byte("?")), "webhooks: record"},
		{"cursor behind the end", set(cursorKey("a"), cursor{position: 99, touched: start}.encode()), `reader "a" is at position 99`},
		{"cursor of nonsense", set(cursorKey("a"), []byte("?")), "cursors: record"},
		{"dedupe key of nonsense", set(appendDedupeKey(nil, bucketAt(1), hash(1)), []byte("?")), "dedupe keys: record"},
		{"correction of nonsense", set(correctionKey(prefixWebhook, id, 1), []byte("\xff")), "corrections: record"},
		{"drift of nonsense", set([]byte("f\x00\x00\x00\x09"), []byte("\xff")), "drift counts: record"},
		{"epoch of nonsense", set(epochKey(77), []byte("?")), "epochs"},
		{"group gone", func(b *pebble.Batch) error { return b.Delete(groupKey("g"), nil) }, `group "g", which is missing`},
		{"group of nonsense", set(groupKey("g"), []byte("?")), "groups: record"},
		{"share gone", func(b *pebble.Batch) error { return b.Delete(shareKey("g", 9), nil) }, `group "g" has 255 of 256 shares`},
		{"share of nonsense", set(shareKey("g", 9), []byte("?")), "shares of groups: record"},
		{"share of no index", set([]byte("sg"), make([]byte, 16)), "shares of groups: record"},
		{"record of no kind", set([]byte("\x01"), []byte("?")), "no known kind"},
	} {
		t.Run(c.what, func(t *testing.T) {
			files := vfs.NewMem()
			j := open(t, testConfig(files))
			appendAll(t, j, entry(1, 10, 2), entry(2, 10, 2), quarantined(3))
			makeGroup(t, j, "g")
			b := j.store.db.NewBatch()
			if err := errors.Join(c.change(b), b.Commit(pebble.Sync)); err != nil {
				t.Fatal(err)
			}
			shut(t, j)
			if _, problems := verified(t, files); !strings.Contains(strings.Join(problems, "\n"), c.want) {
				t.Errorf("problems %q, want …%s…", problems, c.want)
			}
		})
	}
}

// TestVerifyFlippedBits flips a bit anywhere in any file of a folder. Either that is found, or nothing is lost: the folder opens with
// everything.
func TestVerifyFlippedBits(t *testing.T) {
	l := leave(t)
	tries := 12
	if testing.Short() {
		tries = 3
	}
	found, harmless := 0, 0
	for f, name := range l.names(t, "") {
		for seed := range tries {
			rng := rand.New(rand.NewPCG(uint64(f), uint64(seed)))
			files := l.copied(t, name, func(b []byte) []byte {
				b = slices.Clone(b)
				if len(b) == 0 {
					return []byte{}
				}
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				return b
			})
			v, problems := verified(t, files)
			if v.Damaged() {
				found++
				continue
			}
			harmless++
			cfg := testConfig(files)
			cfg.tune = smallTables
			j, err := Open(t.Context(), cfg)
			if err != nil {
				t.Errorf("%s, seed %d: verified, and cannot be opened: %v (problems %q)", name, seed, err, problems)
				continue
			}
			diff(t, fmt.Sprintf("events after a flip in %s, seed %d", name, seed), decoded(t, readAll(t, j)), events(l.entries...))
			diff(t, "webhooks", len(allWebhooks(t, j)), len(l.entries))
			shut(t, j)
		}
	}
	t.Logf("%d flips were found, %d were harmless", found, harmless)
	if found == 0 {
		t.Error("no flip was found")
	}
}

func TestVerifyRefuses(t *testing.T) {
	files := vfs.NewMem()
	none := func(string) {}
	if _, err := Verify(t.Context(), testConfig(files), none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	j := open(t, testConfig(files))
	if _, err := Verify(t.Context(), testConfig(files), none); !errors.Is(err, ErrLocked) {
		t.Errorf("a folder in use: %v", err)
	}
	appendAll(t, j, entry(1, 10, 1))
	shut(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, testConfig(files), none); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if err := files.MkdirAll("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(files)
	cfg.Dir = "empty"
	if _, err := Verify(t.Context(), cfg, none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
}

// A folder with an accepted loss, a backup, and one that retention has worked on are not damaged.
func TestVerifyAfterwards(t *testing.T) {
	l := leave(t)
	logs := l.names(t, ".log")
	cfg := testConfig(l.copied(t, logs[len(logs)-1], removed))
	cfg.AcceptLoss = true
	shut(t, open(t, cfg))
	v, problems := verified(t, cfg.FS)
	if len(problems) > 0 || v.LostCommits == 0 {
		t.Errorf("after an accepted loss: %+v, problems %q", v, problems)
	}

	j, c, cfg := clocked(t, vfs.NewMem())
	for i := range 200 {
		e := entry(i, 10, 1)
		e.Webhook.Id = idAt(c.Now(), i)
		edited(e, 0, func(event *eventv1.Event) { event.WebhookId = e.Webhook.GetId() })
		appendAll(t, j, e)
		c.Advance(time.Hour)
	}
	retainTwice(t, j)
	if j.Bounds().Earliest == 1 {
		t.Fatal("retention removed nothing")
	}
	if err := j.checkpoint(t.Context(), "backup"); err != nil {
		t.Fatal(err)
	}
	shut(t, j)
	for _, dir := range []string{"journal", "backup"} {
		cfg.Dir = path.Clean(dir)
		if v, err := Verify(t.Context(), cfg, func(p string) { t.Errorf("%s: %s", dir, p) }); err != nil || v.Damaged() {
			t.Errorf("%s: %+v, %v", dir, v, err)
		}
	}
}

// TestCloseAfterPanic: a read that panicked leaves its tables open. Closing the store then is an error, and no second panic.
func TestCloseAfterPanic(t *testing.T) {
	db, err := pebble.Open("journal", &pebble.Options{FS: vfs.NewMem(), Logger: pebbleLogger{log: slog.New(slog.DiscardHandler)}})
	diff(t, "open", err, nil)
	diff(t, "set", db.Set([]byte("k"), []byte("v"), pebble.Sync), nil)
	diff(t, "flush", db.Flush(), nil)
	it, err := db.NewIter(nil)
	diff(t, "iterator", err, nil)
	diff(t, "first", it.First(), true)
	if err := (&store{db: db}).close(); !isDamage(err) {
		t.Errorf("close: %v", err)
	}
}
