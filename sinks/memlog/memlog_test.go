package memlog_test

import (
	"testing"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/logtest"
	"github.com/webhook-bridge/bridge/sinks/memlog"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) logtest.Harness { return harness(t, memlog.New(t.Name())) })
}

func harness(t *testing.T, log *memlog.Log) logtest.Harness {
	t.Helper()
	return logtest.Harness{
		Log: log,
		Append: func(events ...*eventv1.Event) {
			t.Helper()
			if _, err := log.Append(events...); err != nil {
				t.Fatal(err)
			}
		},
		Expire: func(p sinks.Position) { log.Expire(p) },
		Backup: func() func() logtest.Harness {
			next := log.Bounds().Next
			return func() logtest.Harness { return harness(t, log.Restore(next)) }
		},
		Close: log.Close,
	}
}
