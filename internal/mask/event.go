package mask

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Event returns an encoded bridge.event.v1.Event without personal data, as [Message] does. The result shares no memory with encoded,
// which is not changed. The same event gives the same bytes.
func Event(encoded []byte) ([]byte, error) {
	var e eventv1.Event
	if err := proto.Unmarshal(encoded, &e); err != nil {
		return nil, fmt.Errorf("mask: event: %w", err)
	}
	message(e.ProtoReflect())
	masked, err := proto.MarshalOptions{Deterministic: true}.Marshal(&e)
	if err != nil {
		return nil, fmt.Errorf("mask: event: %w", err)
	}
	return masked, nil
}
