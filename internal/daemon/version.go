package daemon

import "github.com/webhook-bridge/bridge/internal/build"

// Version is the version, commit and Go version of the build, in one line.
func Version() string { return build.Read().String() }

// Formats are the newest formats of the journal that this program reads and writes. docs/upgrading.md says what they mean for an upgrade.
type Formats struct {
	Folder   int `json:"folder"`
	Postgres int `json:"postgres"`
}
