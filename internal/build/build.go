// Package build says which build of the program this is.
//
// The Go tool records the version and the commit of a binary that it builds in a clone, or from a module. Where there is no repository, in
// an image's build for example, the linker sets them:
//
//	go build -ldflags "-X github.com/webhook-bridge/bridge/internal/build.version=v1.2.3" ./cmd/bridge
//
// and so for commit and date. What the linker sets has precedence.
package build

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// The linker sets these in release builds. date is the commit's, in RFC 3339, so that one commit gives one binary.
var version, commit, date string

// Info describes a build. Commit and Date are empty if nobody recorded them.
type Info struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	// Date is the time of the commit, in RFC 3339.
	Date string `json:"date,omitempty"`
	// Modified: the files differed from the commit.
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Read returns what is known of the running program's build.
func Read() Info {
	recorded, ok := debug.ReadBuildInfo()
	if !ok {
		recorded = &debug.BuildInfo{Main: debug.Module{Version: "unknown"}}
	}
	return read(recorded)
}

func read(recorded *debug.BuildInfo) Info {
	settings := map[string]string{}
	for _, s := range recorded.Settings {
		settings[s.Key] = s.Value
	}
	return Info{
		Version:  cmp.Or(version, recorded.Main.Version, "(devel)"),
		Commit:   cmp.Or(commit, settings["vcs.revision"]),
		Date:     cmp.Or(date, settings["vcs.time"]),
		Modified: settings["vcs.modified"] == "true",
		Go:       cmp.Or(recorded.GoVersion, runtime.Version()),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// String is the build in one line: version, commit and Go's version.
func (i Info) String() string {
	parts := []string{i.Version}
	if i.Commit != "" {
		parts = append(parts, i.Commit)
	}
	return strings.Join(append(parts, i.Go), " ")
}
