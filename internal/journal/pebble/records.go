package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// readerKeys returns the bounds of all keys with this prefix of a reader, or of all readers when the name is empty.
func readerKeys(prefix byte, name string) (lower, upper []byte) {
	if name == "" {
		return span(prefix)
	}
	lower = append(append([]byte{prefix}, name...), 0)
	return lower, append(append([]byte{prefix}, name...), 1)
}

// readerKey is the key of a reader's record about a position.
func readerKey(prefix byte, name string, p sinks.Position) []byte {
	lower, _ := readerKeys(prefix, name)
	return binary.BigEndian.AppendUint64(lower, uint64(p))
}

// parseReaderKey is the inverse of readerKey. rest are the bytes behind the position.
func parseReaderKey(k []byte) (name string, p sinks.Position, rest []byte, err error) {
	name, tail, ok := strings.Cut(string(k[1:]), "\x00")
	if !ok || len(tail) < 8 {
		return "", 0, nil, errCorrupt
	}
	return name, sinks.Position(binary.BigEndian.Uint64([]byte(tail))), []byte(tail[8:]), nil
}

// update writes the batch that change fills, and returns once it is durable. Errors: ErrUnavailable, ErrClosed, and change's.
func (j *Journal) update(operation string, change func(*store, *pebble.Batch) error) error {
	st, release, err := j.borrowStore()
	if err != nil {
		return err
	}
	defer release()
	b := st.db.NewBatch()
	if err := change(st, b); err != nil {
		return fmt.Errorf("journal: %s: %w", operation, errors.Join(err, b.Close()))
	}
	return j.writeUpdate(operation, st, b)
}

// writeUpdate writes a batch, and returns once it is durable. Errors: ErrUnavailable.
func (j *Journal) writeUpdate(operation string, st *store, b *pebble.Batch) error {
	// Pebble shows the batch before its sync ends. So it counts among the writes that a barrier waits for.
	j.applied.Add(1)
	defer func() {
		j.synced.Add(1)
		j.notify()
	}()
	if err := st.write(b); err != nil {
		return fmt.Errorf("%w: %s: %w", journal.ErrUnavailable, operation, err)
	}
	return nil
}

// eachKey calls f for all keys between the bounds, in order, as long as it returns true. Key and value are valid during the call.
func (s *store) eachKey(lower, upper []byte, f func(k, v []byte) (more bool, err error)) (err error) {
	defer recoverDamage(&err)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		more, err := f(it.Key(), v)
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// countKeys counts the keys between the bounds. It does not read their values.
func (s *store) countKeys(ctx context.Context, lower, upper []byte) (n uint64, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		n++
	}
	return n, errors.Join(ctx.Err(), it.Error())
}

func (s *store) getMessage(key []byte, m proto.Message) error { return getMessage(s.db, key, m) }

func getMessage(db pebble.Reader, key []byte, m proto.Message) error {
	v, closer, err := db.Get(key)
	if err != nil {
		return err
	}
	return errors.Join(proto.Unmarshal(v, m), closer.Close())
}

func setMessage(b *pebble.Batch, key []byte, m proto.Message) error {
	v, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return b.Set(key, v, nil)
}
