package grpcstream

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/webhook-bridge/bridge/sinks"
)

// A token is 27 bytes in unpadded base64url: a version, a hash of the log's id, a hash of the filter, the position to go on
// at, big-endian, and a CRC-32C of it all. Its first 15 bytes are the same in a whole stream, and their text is too.
const (
	tokenVersion = 1

	logHashLen    = 8
	filterHashLen = 6
	prefixLen     = 1 + logHashLen + filterHashLen
	suffixLen     = 8 + 4
	tokenLen      = (prefixLen + suffixLen) / 3 * 4
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	encoding   = base64.RawURLEncoding.Strict()

	errTokenDamaged = errors.New("token is damaged or was not made by this service")
)

// scope is what a token means something for: one log and one filter.
type scope struct {
	log    [logHashLen]byte
	filter [filterHashLen]byte
	// Of version, log and filter, made once.
	text [prefixLen / 3 * 4]byte
	sum  uint32
}

func newScope(log [logHashLen]byte, filter [filterHashLen]byte) scope {
	s := scope{log: log, filter: filter}
	var prefix [prefixLen]byte
	prefix[0] = tokenVersion
	copy(prefix[1:], log[:])
	copy(prefix[1+logHashLen:], filter[:])
	encoding.Encode(s.text[:], prefix[:])
	s.sum = crc32.Checksum(prefix[:], castagnoli)
	return s
}

// token returns the token that resumes at position next.
func (s *scope) token(next sinks.Position) string {
	return string(s.appendToken(make([]byte, 0, tokenLen), next))
}

// appendToken appends the token that resumes at position next.
func (s *scope) appendToken(dst []byte, next sinks.Position) []byte {
	var suffix [suffixLen]byte
	binary.BigEndian.PutUint64(suffix[:8], uint64(next))
	binary.BigEndian.PutUint32(suffix[8:], crc32.Update(s.sum, castagnoli, suffix[:8]))
	return encoding.AppendEncode(append(dst, s.text[:]...), suffix[:])
}

// parseToken returns what the token is bound to and the position that it resumes at. Its errors are for the client.
func parseToken(text string) (scope, sinks.Position, error) {
	if len(text) != tokenLen {
		return scope{}, 0, fmt.Errorf("token has %d characters instead of %d: it was cut or added to", len(text), tokenLen)
	}
	raw := make([]byte, 0, prefixLen+suffixLen)
	raw, err := encoding.AppendDecode(raw, []byte(text))
	// The decoder skips line breaks.
	if err != nil || len(raw) != prefixLen+suffixLen {
		return scope{}, 0, errTokenDamaged
	}
	body, sum := raw[:len(raw)-4], binary.BigEndian.Uint32(raw[len(raw)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return scope{}, 0, errTokenDamaged
	}
	if body[0] != tokenVersion {
		return scope{}, 0, fmt.Errorf("token has version %d, this service knows %d", body[0], tokenVersion)
	}
	s := newScope([logHashLen]byte(body[1:]), [filterHashLen]byte(body[1+logHashLen:]))
	return s, sinks.Position(binary.BigEndian.Uint64(body[prefixLen:])), nil
}

func hashLog(id string) [logHashLen]byte {
	sum := sha256.Sum256([]byte(id))
	return [logHashLen]byte(sum[:])
}
