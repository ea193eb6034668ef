package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// prefixRequest is the prefix of operators' requests: reader, NUL, position, kind → Unix nanoseconds.
const prefixRequest = 'r'

// requestKind says what the reader's holder should do with the event.
type requestKind byte

const (
	requestPass  requestKind = 'p'
	requestRetry requestKind = 'r'
)

// request is an operator's request to a reader about one event.
type request struct {
	position sinks.Position
	kind     requestKind
}

func requestKey(name string, q request) []byte {
	return append(readerKey(prefixRequest, name, q.position), byte(q.kind))
}

// loadRequests reads the requests that no holder has carried out.
func (j *Journal) loadRequests(st *store) error {
	lower, upper := span(prefixRequest)
	return st.eachKey(lower, upper, func(k, _ []byte) (bool, error) {
		name, p, kind, err := parseReaderKey(k)
		if err != nil || len(kind) != 1 {
			return false, errCorrupt
		}
		j.readers.get(name).requests[request{p, requestKind(kind[0])}] = struct{}{}
		return true, nil
	})
}

// addRequest makes a request durable, then shows it to the holder. The caller holds r.writing.
func (j *Journal) addRequest(r *reader, q request) error {
	err := j.update("request", func(_ *store, b *pebble.Batch) error {
		at := binary.BigEndian.AppendUint64(nil, uint64(j.cfg.Now().UnixNano()))
		return b.Set(requestKey(r.name, q), at, nil)
	})
	if err != nil {
		return err
	}
	j.readers.mu.Lock()
	r.requests[q] = struct{}{}
	j.readers.mu.Unlock()
	j.groups.noteRequest(r.name)
	return nil
}

func deleteRequests(b *pebble.Batch, name string, all []request) error {
	for _, q := range all {
		if err := b.Delete(requestKey(name, q), nil); err != nil {
			return err
		}
	}
	return nil
}

// forgetRequests is called once the requests' records are gone.
func (rs *readers) forgetRequests(r *reader, all []request) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, q := range all {
		delete(r.requests, q)
	}
}

// requestsOf returns the requests that match, in order of their positions.
func (rs *readers) requestsOf(r *reader, match func(request) bool) (all []request) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for q := range r.requests {
		if match(q) {
			all = append(all, q)
		}
	}
	slices.SortFunc(all, func(a, b request) int {
		if a.position != b.position {
			return int(min(max(int64(a.position)-int64(b.position), -1), 1))
		}
		return int(a.kind) - int(b.kind)
	})
	return all
}

// passesBefore returns the requests to pass an event before p.
func (rs *readers) passesBefore(r *reader, p sinks.Position) []request {
	return rs.requestsOf(r, func(q request) bool { return q.kind == requestPass && q.position < p })
}

// requestsAt returns the requests about one event.
func (rs *readers) requestsAt(r *reader, p sinks.Position) []request {
	return rs.requestsOf(r, func(q request) bool { return q.position == p })
}

// Requests implements [journal.Claim]. It returns at most a hundred parked events. It reads the disk only when there are
// some.
func (c *claim) Requests(ctx context.Context) (journal.Requests, error) {
	var all journal.Requests
	if err := c.check(); err != nil {
		return all, err
	}
	all.Replays = letters.ActiveReplays(c.j.readers.replaysOf(c.r))
	var retries []request
	for _, q := range c.j.readers.requestsOf(c.r, func(request) bool { return true }) {
		switch q.kind {
		case requestPass:
			all.Pass = append(all.Pass, q.position)
		case requestRetry:
			retries = append(retries, q)
		}
	}
	if len(retries) == 0 {
		return all, ctx.Err()
	}
	err := c.j.view(ctx, func(st *store) error {
		for _, q := range retries[:min(len(retries), letters.MaxRetries)] {
			p := new(journalv1.Parked)
			switch err := st.getMessage(readerKey(prefixParked, c.r.name, q.position), p); {
			case errors.Is(err, pebble.ErrNotFound):
			case err != nil:
				return err
			default:
				all.Retry = append(all.Retry, p)
			}
		}
		return nil
	})
	return all, err
}
