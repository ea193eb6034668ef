package pebble

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// The records of a group are its definition, and one record for each share. The record of the empty name has, as its version, the
// greatest version and epoch of the groups that were deleted.

const (
	groupHeaderLen = 8
	shareHeaderLen = 8 + 8
)

func groupKey(name string) []byte { return append([]byte{prefixGroup}, name...) }

func groupValue(version uint64, definition []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, groupHeaderLen+len(definition)), version), definition...)
}

// parseGroup is the inverse of groupValue. The definition is a part of v.
func parseGroup(v []byte) (version uint64, definition []byte, err error) {
	if len(v) < groupHeaderLen {
		return 0, nil, errCorrupt
	}
	version = binary.BigEndian.Uint64(v)
	if version == 0 || version > math.MaxInt64 {
		return 0, nil, errCorrupt
	}
	return version, v[groupHeaderLen:], nil
}

func shareKey(group string, index int) []byte {
	lower, _ := readerKeys(prefixShare, group)
	return append(lower, byte(index))
}

// parseShareKey is the inverse of shareKey.
func parseShareKey(k []byte) (group string, index int, err error) {
	if len(k) < 3 || k[len(k)-2] != 0 {
		return "", 0, errCorrupt
	}
	return string(k[1 : len(k)-2]), int(k[len(k)-1]), nil
}

func shareValue(epoch, version uint64, state []byte) []byte {
	v := make([]byte, 0, shareHeaderLen+len(state))
	v = binary.BigEndian.AppendUint64(v, epoch)
	return append(binary.BigEndian.AppendUint64(v, version), state...)
}

// parseShare is the inverse of shareValue. The state is a part of v.
func parseShare(index int, v []byte) (s journal.Share, err error) {
	if len(v) < shareHeaderLen {
		return s, errCorrupt
	}
	s = journal.Share{
		Index: index, Epoch: binary.BigEndian.Uint64(v), Version: binary.BigEndian.Uint64(v[8:]), State: v[shareHeaderLen:],
	}
	if max(s.Epoch, s.Version) > math.MaxInt64 {
		return s, errCorrupt
	}
	return s, nil
}

// getShare reads a share of a group that exists.
func getShare(db pebble.Reader, group string, index int) (s journal.Share, err error) {
	v, closer, err := db.Get(shareKey(group, index))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return s, errNoShare
	case err != nil:
		return s, err
	}
	s, err = parseShare(index, v)
	s.State = append([]byte(nil), s.State...)
	return s, errors.Join(err, closer.Close())
}

// errNoShare says that a group has no record of a share: the storage lost it.
var errNoShare = errors.Join(errCorrupt, errors.New("a share of a group is missing"))
