package cli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// untilSent takes what is printed, and ends the demo once a webhook has been sent.
type untilSent struct {
	bytes.Buffer
	end context.CancelFunc
}

func (u *untilSent) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("→")) {
		u.end()
	}
	return u.Buffer.Write(b)
}

// Whoever ends the demo while it sends has seen enough, which is no error.
func TestDemoIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &untilSent{end: cancel}
	env := environment{plugins: vendors(), lookup: func(string) (string, bool) { return "", false }, stdin: strings.NewReader(""), stdout: out, stderr: io.Discard}
	if err := demo(ctx, env, false); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if ctx.Err() == nil || strings.Contains(out.String(), "In another terminal") {
		t.Errorf("it went on:\n%s", out)
	}
}
