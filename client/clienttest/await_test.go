package clienttest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// failing notes a test's failure.
type failing struct {
	testing.TB

	text string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// A test that waits for a group without members fails early, and its message lists the groups.
func TestNobodyJoined(t *testing.T) {
	s := New(t)
	s.joining = time.Millisecond
	await := func(wait func(string)) string {
		f := &failing{TB: t}
		s.tb = f
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			wait("biling")
		}()
		<-ended
		s.tb = t
		return f.text
	}
	const nobody = `nobody has joined the group "biling"; `
	if text := await(s.AwaitHandled); !strings.Contains(text, nobody+"there is no group") {
		t.Errorf("it fails with %q", text)
	}
	if _, err := streamv1.NewEventStreamServiceClient(s.Conn()).Pull(t.Context(), &streamv1.PullRequest{Group: "billing"}); err != nil {
		t.Fatal(err)
	}
	if text := await(func(group string) { s.AwaitParked(group, 1) }); !strings.Contains(text, nobody+"the groups are billing") {
		t.Errorf("it fails with %q", text)
	}
}
