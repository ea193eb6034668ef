package pebble

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBackupIsPrivate: events are personal data, so only the owner may enter a copy.
func TestBackupIsPrivate(t *testing.T) {
	folder := t.TempDir()
	j, err := Open(t.Context(), Config{Dir: filepath.Join(folder, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	copied := filepath.Join(folder, "copy")
	if _, err := j.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(copied)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o700 {
		t.Errorf("the copy has mode %v, want 0700", mode)
	}
}
