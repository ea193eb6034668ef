// Package page has the limits of reading that all engines share: how much a read of events returns, and which webhooks a page has.
package page

// ReadBytes bounds the events of one read, in bytes. A larger event is read alone.
const ReadBytes = 1 << 20

// pieceBytes bounds the pieces of memory that events are copied to: a caller that keeps one event keeps its whole piece.
// Larger pieces are no faster.
const pieceBytes = 32 << 10

// Memory holds the events of one read, copied out of the storage's memory. It is allocated in pieces: one buffer that grows
// would be copied again and again. The zero value is ready.
type Memory struct{ piece []byte }

// CopyOf returns a copy of b. A new piece has room for as many values of its size as are left. A larger value than a piece has
// memory of its own.
func (m *Memory) CopyOf(b []byte, left uint64) []byte {
	if len(b) > cap(m.piece)-len(m.piece) {
		size := len(b)
		if size > 0 && size <= pieceBytes {
			size *= int(min(left, uint64(pieceBytes/size)))
		}
		m.piece = make([]byte, 0, size)
	}
	start := len(m.piece)
	m.piece = append(m.piece, b...)
	return m.piece[start:len(m.piece):len(m.piece)]
}
