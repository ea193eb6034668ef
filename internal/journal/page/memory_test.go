package page

import (
	"bytes"
	"testing"
)

// TestMemory copies values of sizes around those of a piece, and looks at all of them when the last one is copied.
func TestMemory(t *testing.T) {
	sizes := []int{0, 1, 700, 0, 699, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3 * pieceBytes, 5, 40_000, 700, 700}
	var m Memory
	var want, got [][]byte
	for i, size := range sizes {
		value := bytes.Repeat([]byte{byte(i + 1)}, size)
		want = append(want, bytes.Clone(value))
		got = append(got, m.CopyOf(value, uint64(len(sizes)-i)))
		if held, most := cap(m.piece), max(size, pieceBytes); held > most {
			t.Errorf("a piece of %d bytes for a value of %d, want at most %d", held, size, most)
		}
		clear(value) // The iterator's memory is used again.
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("value %d of %d bytes has changed", i, sizes[i])
		}
		if cap(got[i]) != len(got[i]) {
			t.Errorf("appending to value %d would write into the next one", i)
		}
	}
}
