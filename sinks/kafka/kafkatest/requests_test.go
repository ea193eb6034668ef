package kafkatest

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRequests reads requests that arrive in pieces of every size.
func TestRequests(t *testing.T) {
	var sent []byte
	for client, request := range map[string]kmsg.Request{"bridge": kmsg.NewPtrEndTxnRequest(), "": kmsg.NewPtrMetadataRequest()} {
		sent = append(sent, kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, request, 7)...)
	}
	for size := 1; size <= len(sent); size++ {
		got := map[Request]int{}
		r := &requests{see: func(r Request) { got[r]++ }}
		for piece := range slices.Chunk(sent, size) {
			r.read(piece)
		}
		if len(got) != 2 || got[Request{26, "bridge"}] != 1 || got[Request{3, ""}] != 1 {
			t.Errorf("in pieces of %d bytes: %v", size, got)
		}
	}
}
