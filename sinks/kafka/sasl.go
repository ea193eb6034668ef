package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// SASL has the client's credentials. Its String leaves the secrets out.
type SASL struct {
	// Mechanism is "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" or "OAUTHBEARER".
	Mechanism string
	// Username and Password are for all mechanisms but OAUTHBEARER.
	Username, Password string
	// Token is a token for OAUTHBEARER, and OAuth gets one. One of them is needed.
	Token string
	OAuth *OAuth
	// Extensions are name=value pairs that a broker may want beside a token.
	Extensions []string
	// Current, if set, returns the password, the token or the client's secret for a new connection, which may have changed since.
	Current func() string
}

// String leaves the secrets out.
func (s SASL) String() string {
	if s.Username == "" {
		return s.Mechanism
	}
	return s.Mechanism + " as " + s.Username
}

// GoString leaves the secrets out.
func (s SASL) GoString() string { return "kafka.SASL{" + s.String() + "}" }

var mechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}

// sasl returns the mechanism for an authentication, which may take as long as timeout.
func (r *resolver) sasl(s *SASL, timeout time.Duration) sasl.Mechanism {
	switch {
	case s == nil:
		return nil
	case !slices.Contains(mechanisms, s.Mechanism):
		r.addf("sasl.mechanism", "%q is none of %s", s.Mechanism, strings.Join(mechanisms, ", "))
		return nil
	case s.Mechanism == "OAUTHBEARER":
		return r.oauthBearer(s, timeout)
	}
	r.needed("sasl.username", s.Username)
	r.needed("sasl.password", s.Password)
	if s.Token != "" || s.OAuth != nil || len(s.Extensions) > 0 {
		r.addf("sasl.mechanism", "must be OAUTHBEARER for token, oauth and extensions")
	}
	mechanism, err := s.mechanism(s.Password)
	if err != nil {
		r.problems = append(r.problems, &KeyError{Key: "sasl", Err: err})
		return nil
	}
	if s.Current != nil {
		return renewedSASL{mechanism, *s}
	}
	return mechanism
}

func (r *resolver) needed(key, text string) {
	if text == "" {
		r.addf(key, "is missing")
	}
}

func (r *resolver) oauthBearer(s *SASL, timeout time.Duration) sasl.Mechanism {
	if s.Username != "" || s.Password != "" {
		r.addf("sasl.username", "is not for OAUTHBEARER, which has token or oauth")
	}
	for i, extension := range s.Extensions {
		name, value, ok := strings.Cut(extension, "=")
		if !ok || name == "" || name == "auth" || strings.ContainsFunc(name+value, func(c rune) bool { return c < ' ' || c > '~' }) {
			r.addf(fmt.Sprintf("sasl.extensions[%d]", i), "is not name=value in printable ASCII")
		}
	}
	if s.OAuth == nil {
		if s.Token == "" {
			r.addf("sasl.token", "is missing: OAUTHBEARER needs token or oauth")
		} else if !isToken(s.Token) {
			r.addf("sasl.token", "has a character that no bearer token has")
		}
		current := func(context.Context) (string, error) { return s.current(s.Token), nil }
		return oauthBearer{current, s.Extensions}
	}
	if s.Token != "" {
		r.addf("sasl.token", "excludes oauth")
	}
	if err := checkTokenURL(s.OAuth.TokenURL); err != nil {
		r.addf("sasl.oauth.token_url", "%w", err)
	}
	r.needed("sasl.oauth.client_id", s.OAuth.ClientID)
	r.needed("sasl.oauth.client_secret", s.OAuth.ClientSecret)
	secret := func() string { return s.current(s.OAuth.ClientSecret) }
	source := newClientCredentials(s.OAuth, secret, r.tls("sasl.oauth.tls", s.OAuth.TLS), timeout)
	return oauthBearer{source.token, s.Extensions}
}

// current returns the secret of this moment, whose text was first at the start.
func (s *SASL) current(first string) string {
	if s.Current == nil {
		return first
	}
	return s.Current()
}

// errSCRAM takes the place of an error whose text may quote the password.
var errSCRAM = errors.New("username or password has characters that SCRAM does not allow")

// mechanism returns the client's side of a mechanism with a password.
func (s *SASL) mechanism(password string) (sasl.Mechanism, error) {
	algorithm := scram.SHA256
	switch s.Mechanism {
	case "PLAIN":
		return plain.Mechanism{Username: s.Username, Password: password}, nil
	case "SCRAM-SHA-512":
		algorithm = scram.SHA512
	}
	m, err := scram.Mechanism(algorithm, s.Username, password)
	if err != nil {
		return nil, errSCRAM
	}
	return m, nil
}

// renewedSASL authenticates each connection with the password of that moment.
type renewedSASL struct {
	sasl.Mechanism

	credentials SASL
}

// Start implements [sasl.Mechanism].
func (r renewedSASL) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := r.credentials.mechanism(r.credentials.Current())
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}

// explain says which setting an error of the authentication is about.
func explain(err error) error {
	switch {
	case errors.Is(err, kafkago.SASLAuthenticationFailed):
		return fmt.Errorf("%w (the broker refuses the credentials of sasl)", err)
	case errors.Is(err, kafkago.UnsupportedSASLMechanism):
		return fmt.Errorf("%w (the broker does not have the mechanism of sasl)", err)
	}
	return err
}
