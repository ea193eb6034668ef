package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Tokens remembers the position of a subscription without a group.
type Tokens interface {
	// Load returns the token that was saved last, or an empty one.
	Load(ctx context.Context) (string, error)
	// Save replaces the token. All events up to it were handled. It is called after each batch, and at heartbeats.
	Save(ctx context.Context, token string) error
}

// File keeps a token in a file of this name.
type File string

// Load implements [Tokens]. A file that does not exist has no token.
func (f File) Load(context.Context) (string, error) {
	b, err := os.ReadFile(string(f))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("client: load token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Save implements [Tokens]. The file has the old token or the new one, also after a crash.
func (f File) Save(_ context.Context, token string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("client: save token: %w", err)
		}
	}()
	next, err := os.CreateTemp(filepath.Dir(string(f)), filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(next.Name()) }() // gone if it was renamed
	if _, err = next.WriteString(token + "\n"); err == nil {
		err = next.Sync()
	}
	if err := errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), string(f))
}
