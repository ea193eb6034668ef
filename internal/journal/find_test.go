package journal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

func ids(ws []*journalv1.Webhook) (ids []string) {
	for _, w := range ws {
		ids = append(ids, w.GetId())
	}
	return ids
}

func webhookIDs(is ...int) (ids []string) {
	for _, i := range is {
		ids = append(ids, webhookID(i))
	}
	return ids
}

func TestWebhookNotFound(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	for _, id := range []string{webhookID(7), "", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		if _, err := j.Webhook(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("webhook %q: %v", id, err)
		}
	}
}
