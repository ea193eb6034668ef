package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// OAuth gets tokens from an authorization server by OAuth 2.0's client credentials grant (RFC 6749, section 4.4).
type OAuth struct {
	// TokenURL is the address of the server's token endpoint.
	TokenURL string
	// ClientID and ClientSecret are the client's credentials.
	ClientID, ClientSecret string
	// Scopes are the scopes that the token should have. Some servers need none.
	Scopes []string
	// TLS configures connections to an https address. nil trusts the system's authorities.
	TLS *TLS
}

// String leaves the secret out.
func (o OAuth) String() string { return o.ClientID + " at " + o.TokenURL }

// GoString leaves the secret out.
func (o OAuth) GoString() string { return "kafka.OAuth{" + o.String() + "}" }

// oauthBearer is the SASL mechanism of RFC 7628, as Kafka has it (KIP-255).
type oauthBearer struct {
	token func(ctx context.Context) (string, error)
	// extensions are name=value pairs for the broker (KIP-342).
	extensions []string
}

// Name implements [sasl.Mechanism].
func (oauthBearer) Name() string { return "OAUTHBEARER" }

// errToken does not show the token.
var errToken = errors.New("sasl: the token is empty or has a character that no bearer token has")

// Start implements [sasl.Mechanism].
func (o oauthBearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := o.token(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !isToken(token) {
		return nil, nil, errToken
	}
	const separator = "\x01"
	pairs := append([]string{"n,,", "auth=Bearer " + token}, o.extensions...)
	return &bearerExchange{}, []byte(strings.Join(pairs, separator) + separator + separator), nil
}

// isToken reports whether a text is a b64token of RFC 6750, the only form that cannot end the message.
func isToken(text string) bool {
	bare := strings.TrimRight(text, "=")
	return bare != "" && !strings.ContainsFunc(bare, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("-._~+/", r)
	})
}

// bearerExchange is the rest of the exchange.
type bearerExchange struct{ refused bool }

// Next implements [sasl.StateMachine]. The broker answers with nothing if it accepts the token. Otherwise it sends its reason, and waits
// for an answer before it fails the exchange.
func (b *bearerExchange) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	switch {
	case len(challenge) == 0 && !b.refused:
		return true, nil, nil
	case b.refused:
		return false, nil, errors.New("sasl: the broker refuses the token")
	default:
		b.refused = true
		return false, []byte("\x01"), nil
	}
}

// clientCredentials gets tokens, and uses each until shortly before it expires.
type clientCredentials struct {
	server  OAuth
	secret  func() string
	client  *http.Client
	timeout time.Duration
	// slot has the last token, or nil. Whoever takes it out may ask for another.
	slot chan *oauth2.Token
}

func newClientCredentials(o *OAuth, secret func() string, tlsConfig *tls.Config, timeout time.Duration) *clientCredentials {
	c := &clientCredentials{
		server:  *o,
		secret:  secret,
		timeout: timeout,
		slot:    make(chan *oauth2.Token, 1),
		// A connection of its own for each token: they are rare. A redirect could send the secret elsewhere.
		client: &http.Client{
			Transport:     &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.slot <- nil
	return c
}

// token returns a token that is valid now.
func (c *clientCredentials) token(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var last *oauth2.Token
	select {
	case last = <-c.slot:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { c.slot <- last }()
	if last.Valid() {
		return last.AccessToken, nil
	}
	config := clientcredentials.Config{ClientID: c.server.ClientID, ClientSecret: c.secret(), TokenURL: c.server.TokenURL, Scopes: c.server.Scopes}
	next, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, c.client))
	if err != nil {
		return "", fmt.Errorf("sasl: token from %s: %w", c.server.TokenURL, withoutBody(err))
	}
	last = next
	return next.AccessToken, nil
}

// withoutBody leaves out the body of the server's answer, which may repeat what it got.
func withoutBody(err error) error {
	at, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !ok:
		return err
	case at.ErrorCode != "":
		return fmt.Errorf("the server answers %s: %.100q", at.Response.Status, at.ErrorCode)
	default:
		return fmt.Errorf("the server answers %s", at.Response.Status)
	}
}

// checkTokenURL returns a problem of the address of a token endpoint.
func checkTokenURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("is missing")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("is not an address such as https://login.example/oauth2/token")
	case u.User != nil:
		return errors.New("must not have a user: use client_id and client_secret")
	}
	return nil
}
