//go:build unix

package daemon

import "golang.org/x/sys/unix"

// descriptors returns how many descriptors the process may open. The Go runtime has raised the soft limit to the hard one.
func descriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return otherDescriptors
	}
	return int(min(limit.Cur, maxDescriptors))
}
