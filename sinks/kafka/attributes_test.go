package kafka

import (
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
)

// TestStaleAttribute: a stale event has the attribute as a Boolean, and no other event has it.
func TestStaleAttribute(t *testing.T) {
	for stale, want := range map[bool]string{true: `"id":"1","stale":true,`, false: `"id":"1","datacontenttype"`} {
		h := sinks.Header{ID: []byte("1"), Stale: stale}
		all := attributes(&h)
		text, err := structured(all, []byte("{}"))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("structured, stale %v: %s, %v", stale, text, err)
		}
		for _, header := range headers(all, nil) {
			if header.Key == "ce_stale" && (!stale || string(header.Value) != "true") {
				t.Errorf("headers, stale %v: ce_stale %q", stale, header.Value)
			}
		}
	}
}
