package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// A reader gets all events before the damage, then an error with its position, and never an event that was changed.
func TestDamagedEvent(t *testing.T) {
	for what, value := range map[string][]byte{
		"too short":   []byte("short"),
		"no protobuf": append(make([]byte, eventHeaderLen), 0x12, 0xff),
		"gone":        nil,
	} {
		t.Run(what, func(t *testing.T) {
			j := open(t, testConfig(vfs.NewMem()))
			appendAll(t, j, entry(1, 10, 3), entry(2, 10, 3))
			err := j.store.db.Set(eventKey(4), value, pebble.Sync)
			if value == nil {
				err = j.store.db.Delete(eventKey(4), pebble.Sync)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := j.Read(t.Context(), 1, make([]sinks.Record, 0, 16))
			if err != nil || len(got) != 3 {
				t.Fatalf("read %d events, %v", len(got), err)
			}
			for range 2 {
				_, err = j.Read(t.Context(), 4, make([]sinks.Record, 0, 16))
				wantDamage(t, err, 4)
			}
			got, err = j.Read(t.Context(), 5, make([]sinks.Record, 0, 16))
			if err != nil || len(got) != 2 {
				t.Errorf("behind the damage: %d events, %v", len(got), err)
			}
			diff(t, "damage in the journal's state", j.Health().Damaged, sinks.Position(4))
			diff(t, "damaged reads", j.Stats().Damaged, uint64(2))
			if what != "gone" {
				_, err = j.EventAt(t.Context(), 4)
				wantDamage(t, err, 4)
			}
		})
	}
}

func wantDamage(t *testing.T, err error, p sinks.Position) {
	t.Helper()
	var damaged *sinks.DamagedError
	if !errors.Is(err, sinks.ErrDamaged) || !errors.As(err, &damaged) || damaged.Position != p {
		t.Errorf("error %v, want damage at %d", err, p)
	}
}

func TestDamagedWebhook(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	appendAll(t, j, entry(1, 10, 1), quarantined(2))
	for i, prefix := range map[int]byte{1: prefixWebhook, 2: prefixQuarantine} {
		id, err := journal.ParseID(webhookID(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.store.db.Set(webhookKey(prefix, id), []byte("?"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		_, err = j.Webhook(t.Context(), webhookID(i))
		wantErr(t, "webhook", err, sinks.ErrDamaged)
	}
	_, err := j.Find(t.Context(), journal.Query{})
	wantErr(t, "list", err, sinks.ErrDamaged)
	_, err = j.Find(t.Context(), journal.Query{Quarantined: true})
	wantErr(t, "quarantine", err, sinks.ErrDamaged)
}

// What may pass is no damage: the reader tries again.
func TestWhatIsDamage(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EMFILE: false, syscall.ENOSPC: false, journal.ErrUnavailable: false, sinks.ErrClosed: false,
		syscall.EIO: true, fs.ErrNotExist: true, errCorrupt: true, errHole: true,
	} {
		diff(t, fmt.Sprint(err), isDamage(fmt.Errorf("read: %w", err)), want)
	}
}
