package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// largestAnswer limits an answer that is read as a whole, in bytes.
const largestAnswer = 16 << 20

// flexible is a request that kafka-go does not know, of a version with flexible headers. Its answer is a [flexibleAnswer].
type flexible struct{ kmsg.Request }

// ApiKey implements [protocol.Message].
func (f flexible) ApiKey() protocol.ApiKey { //nolint:revive // The interface is kafka-go's.
	return protocol.ApiKey(f.Key())
}

type flexibleAnswer struct{ kmsg.Response }

// ApiKey implements [protocol.Message].
func (a flexibleAnswer) ApiKey() protocol.ApiKey { //nolint:revive // The interface is kafka-go's.
	return protocol.ApiKey(a.Key())
}

func (f flexible) exchange(rw io.ReadWriter, client string) (protocol.Message, error) {
	if _, err := rw.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, f.Request, 1)); err != nil {
		return nil, err
	}
	body, err := readAnswer(rw)
	if err != nil {
		return nil, err
	}
	answer := f.ResponseKind()
	answer.SetVersion(f.GetVersion())
	if err := answer.ReadFrom(body); err != nil {
		return nil, err
	}
	return flexibleAnswer{answer}, nil
}

// readAnswer returns the body of an answer with a flexible header: a correlation id, and tags, of which there are none.
func readAnswer(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	const header = 4 + 1
	n := binary.BigEndian.Uint32(size[:])
	if n < header || n > largestAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(r, answer); err != nil {
		return nil, err
	}
	if answer[header-1] != 0 {
		return nil, errors.New("an answer with a header of unknown tags")
	}
	return answer[header:], nil
}
