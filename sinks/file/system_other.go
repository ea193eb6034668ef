//go:build !unix

package file

import (
	"errors"
	"os"
)

var errSystem = errors.New("file sinks need a Unix system")

// Without a lock and durable folders the sink cannot keep its promises.
func lockFile(string) (*os.File, error) { return nil, errSystem }

func syncDir(string) error { return errSystem }
