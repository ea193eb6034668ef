package ingress

import (
	"context"
	"fmt"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// takeBatch takes in the webhooks of an array, each by itself, and makes all that become of them durable at once. An array
// that is none, or is too much, is kept as it came. Where the source refuses what cannot be decoded, one such element has the
// whole refused.
func (in *Ingress) takeBatch(ctx context.Context, src *endpoint, d *intake.Delivery, named intake.Names) (intake.Outcome, error) {
	elements, fault := d.Elements()
	if fault != nil {
		return in.intake.Quarantine(ctx, d, fault)
	}
	var batch intake.Batch
	element := *d
	element.Encoding, element.Batch = journalv1.Encoding_ENCODING_JSON, &batch
	for i, e := range elements {
		element.Body, element.Text, element.Element = e.Body, e.Text, i+1
		if _, err := in.takeOne(ctx, src, &element, named); err != nil {
			return 0, err
		}
		if batch.Events() > intake.MaxEvents {
			return in.intake.Quarantine(ctx, d, intake.NewFault(intake.TooManyEvents,
				fmt.Errorf("the array's webhooks make more than %d events", intake.MaxEvents)))
		}
	}
	return intake.Collected, in.intake.Commit(ctx, &batch)
}
