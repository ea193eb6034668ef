//go:build !linux

package file

import (
	"os"
	"testing"
)

func bindToPermissions(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("permissions do not bind root here")
	}
}
