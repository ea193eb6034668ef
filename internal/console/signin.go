package console

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/peer"
)

// signInView is the form that asks for a token.
type signInView struct {
	// Next is the path of the page to show afterwards.
	Next string
	// Refused says that the token was not accepted.
	Refused bool
}

// maxForm bounds the body of a form, in bytes: the largest body to repair, with escapes.
const maxForm = 3*maxRepair + 16<<10

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request) {
	if c.operators.Open() {
		http.Redirect(w, r, Path, http.StatusSeeOther)
		return
	}
	c.askToken(w, r, http.StatusOK, signInView{Next: safeNext(r.URL.Query().Get("next"))})
}

func (c *Console) askToken(w http.ResponseWriter, r *http.Request, status int, v signInView) {
	c.render(w, r, status, page{title: "Sign in", template: "signin.html"}, layout{}, v)
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	next, token := safeNext(r.PostFormValue("next")), strings.TrimSpace(r.PostFormValue("token"))
	_, name, ok := c.operators.Admit(fromPeer(r), token)
	if !ok {
		c.refusals.Do(func() { c.log.Warn("sign-in to the console refused", "by", r.RemoteAddr) })
		c.askToken(w, r, http.StatusForbidden, signInView{Next: next, Refused: true})
		return
	}
	c.sessions.end(c.sessionID(r))
	c.setCookie(w, r, c.sessions.begin(token, time.Now()), sessionAge)
	c.log.Info("signed in to the console", "by", r.RemoteAddr, "operator", name)
	http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // safeNext returns paths of the console alone
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	c.sessions.end(c.sessionID(r))
	c.setCookie(w, r, "", -time.Second)
	http.Redirect(w, r, Path+"sign-in", http.StatusSeeOther)
}

// safeNext returns a path of the console, whatever is asked for: nothing leads to another site.
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, Path) || strings.Contains(u.Path, "..") || strings.Contains(next, `\`) {
		return Path
	}
	return u.RequestURI()
}

// operator is who makes a request.
type operator struct {
	// Name may be empty, also of one who has signed in.
	Name     string
	SignedIn bool
}

// admit returns the context of a request's calls, with the operator's identity.
func (c *Console) admit(r *http.Request) (context.Context, operator, bool) {
	if c.operators.Open() {
		ctx, name, ok := c.operators.Admit(fromPeer(r), "")
		return ctx, operator{Name: name}, ok
	}
	id := c.sessionID(r)
	token, ok := c.sessions.token(id, time.Now(), r.Header.Get("X-Bridge-Refresh") == "")
	if !ok {
		return nil, operator{}, false
	}
	ctx, name, ok := c.operators.Admit(fromPeer(r), token)
	if !ok {
		c.sessions.end(id)
	}
	return ctx, operator{Name: name, SignedIn: true}, ok
}

// fromPeer returns the request's context with the address that it came from, as a gRPC connection would have it.
func fromPeer(r *http.Request) context.Context {
	addr, err := net.ResolveTCPAddr("tcp", r.RemoteAddr)
	if err != nil {
		return r.Context()
	}
	return peer.NewContext(r.Context(), &peer.Peer{Addr: addr})
}
