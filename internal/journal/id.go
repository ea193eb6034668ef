package journal

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// ParseID reads a webhook's id, which is a UUID of version 7.
func ParseID(id string) (uuid.UUID, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return u, err
	}
	if u.Version() != 7 {
		return u, fmt.Errorf("webhook id %q: version %d, want 7", id, u.Version())
	}
	return u, nil
}

// IDAt is the least id of a webhook received in the millisecond of t or later, for [Query].
func IDAt(t time.Time) string {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:], uint64(max(t.UnixMilli(), 0))<<16|7<<12)
	u[8] = 0x80
	return u.String()
}
