package grpcstream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
)

// A token is 36 bytes in unpadded base64url: the version 2, a hash of the log's id, a hash of the filter, the epoch and the
// position of a mark, big-endian, and a CRC-32C of all bytes before it. The first 24 bytes are the same for all events of an
// epoch in one stream, and so is their text.
//
// A token of version 1 has 27 bytes: its hash of the filter is a byte shorter, and it has no epoch. Services have stored
// them, so they are still read.
const (
	tokenVersion = 2

	logHashLen    = 8
	filterHashLen = filter.HashLen
	prefixLen     = 1 + logHashLen + filterHashLen + 8
	suffixLen     = 8 + 4
	tokenLen      = (prefixLen + suffixLen) / 3 * 4

	oldVersion       = 1
	oldFilterHashLen = 6
	oldTokenLen      = (1 + logHashLen + oldFilterHashLen + suffixLen) / 3 * 4
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	encoding   = base64.RawURLEncoding.Strict()

	errTokenDamaged = errors.New("token is damaged or was not made by this service")
)

// tokens makes the tokens of one log and one filter. It belongs to one goroutine.
type tokens struct {
	log    [logHashLen]byte
	filter [filterHashLen]byte
	// Text and checksum of the first 24 bytes, for the epoch.
	epoch sinks.Epoch
	text  [prefixLen / 3 * 4]byte
	sum   uint32
}

func newTokens(log [logHashLen]byte, filter [filterHashLen]byte) *tokens {
	t := &tokens{log: log, filter: filter}
	t.begin(0)
	return t
}

// begin writes the text of the first bytes for an epoch.
func (t *tokens) begin(epoch sinks.Epoch) {
	prefix := make([]byte, 0, prefixLen)
	prefix = append(prefix, tokenVersion)
	prefix = append(prefix, t.log[:]...)
	prefix = append(prefix, t.filter[:]...)
	prefix = binary.BigEndian.AppendUint64(prefix, uint64(epoch))
	encoding.Encode(t.text[:], prefix)
	t.epoch, t.sum = epoch, crc32.Checksum(prefix, castagnoli)
}

// token returns the token that resumes at a mark.
func (t *tokens) token(m sinks.Mark) string {
	return string(t.appendToken(make([]byte, 0, tokenLen), m))
}

// appendToken appends the token that resumes at a mark.
func (t *tokens) appendToken(dst []byte, m sinks.Mark) []byte {
	if m.Epoch != t.epoch {
		t.begin(m.Epoch)
	}
	var suffix [suffixLen]byte
	binary.BigEndian.PutUint64(suffix[:8], uint64(m.Position))
	binary.BigEndian.PutUint32(suffix[8:], crc32.Update(t.sum, castagnoli, suffix[:8]))
	return encoding.AppendEncode(append(dst, t.text[:]...), suffix[:])
}

// token is a token that was read.
type token struct {
	log    [logHashLen]byte
	filter []byte // The hash's first bytes; their number depends on the version.
	mark   sinks.Mark
}

// parseToken reads a token of any version. Its errors are for the client.
func parseToken(text string) (token, error) {
	if len(text) != tokenLen && len(text) != oldTokenLen {
		return token{}, wrongLength(text)
	}
	raw := make([]byte, 0, prefixLen+suffixLen)
	raw, err := encoding.AppendDecode(raw, []byte(text))
	// The decoder skips line breaks.
	if err != nil || len(raw) != len(text)/4*3 {
		return token{}, errTokenDamaged
	}
	version := raw[0]
	if version == tokenVersion && len(text) != tokenLen || version == oldVersion && len(text) != oldTokenLen {
		return token{}, wrongLength(text)
	}
	body, sum := raw[:len(raw)-4], binary.BigEndian.Uint32(raw[len(raw)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return token{}, errTokenDamaged
	}
	k := token{log: [logHashLen]byte(body[1:])}
	rest := body[1+logHashLen:]
	switch version {
	case tokenVersion:
		k.filter, rest = rest[:filterHashLen], rest[filterHashLen:]
		k.mark.Epoch, rest = sinks.Epoch(binary.BigEndian.Uint64(rest)), rest[8:]
	case oldVersion:
		k.filter, rest = rest[:oldFilterHashLen], rest[oldFilterHashLen:]
	default:
		return token{}, fmt.Errorf("token has version %d, this service knows %d and %d", version, oldVersion, tokenVersion)
	}
	k.mark.Position = sinks.Position(binary.BigEndian.Uint64(rest))
	return k, nil
}

func wrongLength(text string) error {
	return fmt.Errorf("token has %d characters instead of %d: it was cut or added to", len(text), tokenLen)
}

func hashLog(id string) [logHashLen]byte {
	sum := sha256.Sum256([]byte(id))
	return [logHashLen]byte(sum[:])
}

// CheckToken returns an error for a text that is no token, or that was damaged. The error is for the client.
func CheckToken(text string) error {
	_, err := parseToken(text)
	return err
}

// Place returns the position at which a reader of a log continues with a token. The token may be that of any filter: all events before
// the position count as dealt with. Errors: [ErrOtherLog], those of [CheckToken] and of [sinks.Log.Resolve].
func Place(ctx context.Context, log sinks.Log, text string) (sinks.Position, error) {
	k, err := parseToken(text)
	if err != nil {
		return 0, err
	}
	if k.log != hashLog(log.ID()) {
		return 0, ErrOtherLog
	}
	if err := log.Resolve(ctx, k.mark); err != nil {
		return 0, err
	}
	return k.mark.Position, nil
}

// ErrOtherLog means that a token belongs to another log.
var ErrOtherLog = errors.New("the token belongs to another log")
