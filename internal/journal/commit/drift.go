package commit

import (
	"bytes"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// maxSample bounds a sample of drift, in bytes.
const maxSample = 64

// DriftKey identifies one kind of drift.
type DriftKey struct {
	Connector, Event string
	Kind             journalv1.DriftKind
	Path             string
}

// Drift is the drift of one webhook. It shares no memory with the webhook.
type Drift struct {
	At      *timestamppb.Timestamp
	Keys    []DriftKey
	Samples [][]byte
}

// driftOf returns drift of a webhook, or nil if there is none.
func driftOf(w *journalv1.Webhook, drift []*journalv1.Drift) *Drift {
	if len(drift) == 0 {
		return nil
	}
	all := &Drift{At: proto.CloneOf(w.GetReceivedAt())}
	for _, d := range drift {
		all.Keys = append(all.Keys, DriftKey{w.GetConnector(), w.GetVendorEvent(), d.GetKind(), d.GetPath()})
		all.Samples = append(all.Samples, bytes.Clone(d.GetSample()[:min(len(d.GetSample()), maxSample)]))
	}
	return all
}
