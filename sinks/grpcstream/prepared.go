package grpcstream

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	grpcencoding "google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
)

// format is how gRPC encodes the messages of a stream.
type format struct{ codec, compressor string }

// formatOf returns the format of a stream. Without a gRPC transport, it is not known.
func formatOf(ctx context.Context) (format, bool) {
	s, ok := grpc.ServerTransportStreamFromContext(ctx).(interface {
		ContentSubtype() string
		SendCompress() string
	})
	if !ok {
		return format{}, false
	}
	f := format{s.ContentSubtype(), s.SendCompress()}
	if grpcencoding.GetCodecV2(f.codec) == nil && grpcencoding.GetCodec(f.codec) == nil {
		f.codec = protocodec.Name // gRPC takes this one for an unknown name, which is the client's text
	}
	return f, true
}

// preparedBatch has a batch as gRPC sends it, so that it is encoded, and compressed, once for all streams.
type preparedBatch struct {
	mu   sync.Mutex
	form map[format]*grpc.PreparedMsg // Formats are few: those that the program has codecs and compressors for.
}

func (p *preparedBatch) get(f format, b *batch, out grpc.ServerStream) (*grpc.PreparedMsg, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.form[f]; m != nil {
		return m, nil
	}
	m := &grpc.PreparedMsg{}
	if err := m.Encode(out, b.response()); err != nil {
		return nil, err
	}
	if p.form == nil {
		p.form = make(map[format]*grpc.PreparedMsg, 1)
	}
	p.form[f] = m
	return m, nil
}
