package memlog_test

import (
	"testing"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/logtest"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness {
		t.Helper()
		log := memlog.New(t.Name())
		return logtest.Harness{
			Log: log,
			Append: func(events ...*eventv1.Event) {
				t.Helper()
				if _, err := log.Append(events...); err != nil {
					t.Fatal(err)
				}
			},
			Expire: func(p sinks.Position) { log.Expire(p) },
			Close:  log.Close,
		}
	})
}
