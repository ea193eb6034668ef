//go:build unix

package daemon

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// hasPermissions: files have the permissions of Unix.
const hasPermissions = true

// writeProblem returns why this process may not write to a file, or create files in a folder. It writes nothing.
func writeProblem(path string) string {
	const mode = unix.R_OK | unix.W_OK
	err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		err = unix.Access(path, mode)
	}
	if err == nil {
		return ""
	}
	return causeOf(&fs.PathError{Op: "access", Path: path, Err: err})
}
