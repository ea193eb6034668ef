package console

import (
	"testing"
	"time"
)

// TestSessionsAreBounded: in number, in idle time and in age.
func TestSessionsAreBounded(t *testing.T) {
	s, now := newSessions(), time.Unix(1700000000, 0)
	first := s.begin("token", now)
	for i := range maxSessions {
		s.begin("other", now.Add(time.Duration(i+1)*time.Millisecond))
	}
	if _, ok := s.token(first, now.Add(time.Second), true); ok || len(s.byID) != maxSessions {
		t.Errorf("%d sessions, the oldest is there: %v", len(s.byID), ok)
	}
	id := s.begin("token", now)
	if _, ok := s.token(id, now.Add(sessionIdle-1), false); !ok {
		t.Error("a session ended early")
	}
	if _, ok := s.token(id, now.Add(sessionIdle+1), false); ok {
		t.Error("requests that no person made kept a session")
	}
	id = s.begin("token", now)
	at := now
	for at.Sub(now)+sessionIdle < sessionAge {
		at = at.Add(sessionIdle)
		if text, ok := s.token(id, at, true); !ok || text != "token" {
			t.Fatalf("a session in use ended after %v", at.Sub(now))
		}
	}
	if _, ok := s.token(id, now.Add(sessionAge+1), true); ok {
		t.Error("a session in use lasts for ever")
	}
	if _, ok := s.token("", now, true); ok {
		t.Error("no id is a session")
	}
}

// TestSafeNext: a sign-in leads to the console alone.
func TestSafeNext(t *testing.T) {
	for next, want := range map[string]string{
		"/console/webhooks?source=a": "/console/webhooks?source=a",
		"":                           Path, "/": Path, "//evil.example/console/": Path, "https://evil.example/console/": Path,
		`/console/\evil`: Path, "/console/../v1": Path, "javascript:alert(1)": Path, "/consolex/": Path,
	} {
		if got := safeNext(next); got != want {
			t.Errorf("%s leads to %s", next, got)
		}
	}
}
