//go:build !linux

package postgres

import "syscall"

// setUserTimeout does nothing: the system's own time-out for unacknowledged data applies.
func setUserTimeout(string, string, syscall.RawConn) error { return nil }
