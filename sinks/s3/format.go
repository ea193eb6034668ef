package s3

import (
	"bytes"
	"errors"

	"github.com/klauspost/compress/zstd"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// format writes events as the content of an object.
type format interface {
	// encode returns the content with the first n events. When n is less than their number, err is about events[n].
	encode(events []sinks.Record) (content []byte, n int, err error)
	// extension is the end of the object's name.
	extension() string
}

// lines is JSON Lines, compressed with zstd.
type lines struct{}

func (lines) extension() string { return ".jsonl.zst" }

func (lines) encode(events []sinks.Record) ([]byte, int, error) {
	var out bytes.Buffer
	compress, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, 0, err
	}
	n, refused := 0, error(nil)
	for _, r := range events {
		var line []byte
		if line, refused = jsonOf(r); refused != nil {
			break
		}
		if _, err := compress.Write(append(line, '\n')); err != nil {
			return nil, 0, err
		}
		n++
	}
	if err := compress.Close(); err != nil {
		return nil, 0, err
	}
	return out.Bytes(), n, refused
}

var errNoID = errors.New("it has no id")

func jsonOf(r sinks.Record) ([]byte, error) {
	event, err := r.Event()
	if err != nil {
		return nil, err
	}
	if event.GetId() == "" {
		return nil, errNoID
	}
	return cloudevents.JSON(event)
}
