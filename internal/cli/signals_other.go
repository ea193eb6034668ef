//go:build !unix

package cli

import "os"

// notifyHandover does nothing: this system cannot pass sockets on.
func notifyHandover(chan<- os.Signal) {}
