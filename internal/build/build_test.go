package build

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestRead(t *testing.T) {
	recorded := &debug.BuildInfo{
		GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-27T10:00:00Z"}, {Key: "vcs.modified", Value: "true"},
		},
	}
	got := read(recorded)
	want := Info{
		Version: "v1.2.3", Commit: "abc", Date: "2026-11-27T10:00:00Z", Modified: true, Go: "go1.26.8", Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.String() != "v1.2.3 abc go1.26.8" {
		t.Errorf("in one line: %s", got)
	}
	if empty := read(&debug.BuildInfo{}); empty.Version != "(devel)" || empty.Go != runtime.Version() || empty.String() != "(devel) "+runtime.Version() {
		t.Errorf("nothing recorded: %+v", empty)
	}
}

// TestReadLinked: the linker's values go before the recorded ones.
func TestReadLinked(t *testing.T) {
	version, commit, date = "v9", "def", "2027-01-01T00:00:00Z"
	t.Cleanup(func() { version, commit, date = "", "", "" })
	got := read(&debug.BuildInfo{Main: debug.Module{Version: "v1"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}})
	if got.Version != "v9" || got.Commit != "def" || got.Date != "2027-01-01T00:00:00Z" {
		t.Errorf("%+v", got)
	}
}
