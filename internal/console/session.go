package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/internal/secret"
)

const (
	// maxSessions is how many sessions there may be. A new one beyond takes the place of the one that was idle for the longest time.
	maxSessions = 256
	// sessionIdle is how long a session lasts without a request, and sessionAge how long in all.
	sessionIdle = time.Hour
	sessionAge  = 12 * time.Hour
)

// sessions are the signed-in operators, in memory.
type sessions struct {
	mu sync.Mutex
	// byID is keyed by the digest of the id in the cookie: looking it up takes a time that tells nothing of the ids. Guarded by mu.
	byID map[[sha256.Size]byte]*session
}

type session struct {
	token         secret.Value
	begun, latest time.Time
}

func newSessions() *sessions { return &sessions{byID: map[[sha256.Size]byte]*session{}} }

// begin returns the id of a new session.
func (s *sessions) begin(token string, now time.Time) string {
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	text := base64.RawURLEncoding.EncodeToString(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if len(s.byID) >= maxSessions {
		s.dropOldest()
	}
	s.byID[sha256.Sum256([]byte(text))] = &session{secret.New(token), now, now}
	return text
}

func (s *sessions) expire(now time.Time) {
	for id, x := range s.byID {
		if x.over(now) {
			delete(s.byID, id)
		}
	}
}

func (x *session) over(now time.Time) bool {
	return now.Sub(x.latest) > sessionIdle || now.Sub(x.begun) > sessionAge
}

func (s *sessions) dropOldest() {
	var oldest [sha256.Size]byte
	var at time.Time
	for id, x := range s.byID {
		if at.IsZero() || x.latest.Before(at) {
			oldest, at = id, x.latest
		}
	}
	delete(s.byID, oldest)
}

// token returns the token of a session. used says that a person asked, so that the session lasts.
func (s *sessions) token(id string, now time.Time, used bool) (token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sha256.Sum256([]byte(id))
	x := s.byID[key]
	switch {
	case x == nil:
		return "", false
	case x.over(now):
		delete(s.byID, key)
		return "", false
	case used:
		x.latest = now
	}
	return x.token.Reveal(), true
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, sha256.Sum256([]byte(id)))
}

// cookieName names the cookie of the session. Cookies do not tell ports apart: two programs on one machine need two names. The prefix has the
// browser refuse a cookie that a plain page or another host set.
func (c *Console) cookieName(r *http.Request) string {
	name := "bridge-console"
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		name += "-" + port
	}
	if c.secure {
		return "__Host-" + name
	}
	return name
}

func (c *Console) setCookie(w http.ResponseWriter, r *http.Request, id string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure where the listener has TLS: without it a browser would not send the cookie back
		Name: c.cookieName(r), Value: id, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteStrictMode,
	})
}

// sessionID returns the id that a request presents, or "".
func (c *Console) sessionID(r *http.Request) string {
	cookie, err := r.Cookie(c.cookieName(r))
	if err != nil {
		return ""
	}
	return cookie.Value
}
