package kafka_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	stdlog "log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/certs/certstest"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// TestRealSecurity: TLS and every SASL mechanism against a real broker. Wrong credentials are an error that names them and shows none.
func TestRealSecurity(t *testing.T) {
	dir := t.TempDir()
	authority, signer := certstest.New(t, "authority"), newSigner(t)
	files := kafkatest.SecureFiles{
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem"), JWKS: filepath.Join(dir, "keys.json"),
	}
	authority.WriteServer(t, files.Cert, files.Key)
	write(t, files.CA, authority.PEM())
	write(t, files.JWKS, signer.jwks(t))
	b := kafkatest.StartSecure(t, files)
	trust := &kafka.TLS{CAFile: files.CA}
	secure := kafka.Config{Brokers: []string{b.SASL}, Topic: "security", TLS: trust, Required: true, CreateTopics: &kafka.CreateTopics{}}

	with := func(s kafka.SASL) kafka.Config {
		c := secure
		c.SASL = &s
		return c
	}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			deliver(t, with(kafka.SASL{Mechanism: mechanism, Username: kafkatest.User, Password: kafkatest.Password}), numbered(1, mechanism))
			refusedCredentials(t, with(kafka.SASL{Mechanism: mechanism, Username: kafkatest.User, Password: "wrong-hunter2"}), "hunter2")
		})
	}
	t.Run("token", func(t *testing.T) {
		token := signer.token(t, time.Hour)
		deliver(t, with(kafka.SASL{Mechanism: "OAUTHBEARER", Token: token, Extensions: []string{"traceId=7"}}), numbered(1, "token"))
		forged := newSigner(t).token(t, time.Hour)
		refusedCredentials(t, with(kafka.SASL{Mechanism: "OAUTHBEARER", Token: forged}), forged)
		expired := signer.token(t, -time.Hour)
		refusedCredentials(t, with(kafka.SASL{Mechanism: "OAUTHBEARER", Token: expired}), expired)
		// A file with a new token is read for the next connection.
		renewed := with(kafka.SASL{Mechanism: "OAUTHBEARER", Token: expired, Current: func() string { return token }})
		deliver(t, renewed, numbered(1, "renewed"))
	})
	t.Run("client credentials", func(t *testing.T) { clientCredentials(t, secure, files, signer) })
	t.Run("compaction", func(t *testing.T) { compaction(t, b) })
	t.Run("certificates", func(t *testing.T) {
		mutual := kafka.Config{Brokers: []string{b.Mutual}, Topic: "security", Required: true}
		mutual.TLS = &kafka.TLS{CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}
		deliver(t, mutual, numbered(1, "mutual"))
		for name, wrong := range map[string]*kafka.TLS{
			"no client certificate": trust,
			"unknown authority":     {CertFile: files.Cert, KeyFile: files.Key},
			"another name":          {CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, ServerName: "kafka.example"},
			"no TLS":                nil,
		} {
			t.Run(name, func(t *testing.T) {
				c := mutual
				c.TLS, c.Timeout = wrong, 2*time.Second
				refused(t, c, "PRIVATE")
			})
		}
	})
}

// refusedCredentials checks that the error is about the credentials.
func refusedCredentials(t *testing.T, config kafka.Config, secret string) {
	t.Helper()
	refused(t, config, secret)
	config.Required = false
	_, err := openSink(t, config).Deliver(t.Context(), records(t, numbered(1, "1")))
	if err == nil || !strings.Contains(err.Error(), "refuses the credentials") {
		t.Errorf("Deliver: %v", err)
	}
	t.Log(err)
}

// clientCredentials gets tokens from an authorization server in this process.
func clientCredentials(t *testing.T, config kafka.Config, files kafkatest.SecureFiles, signer *signer) {
	asked := 0
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		id, secret, _ := r.BasicAuth()
		if id != "bridge" || secret != "s3cret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "events" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"not `+secret+`"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": signer.token(t, time.Hour), "token_type": "bearer", "expires_in": 3600})
	})
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // One client trusts nobody.
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	with := func(o kafka.OAuth) kafka.Config {
		c := config
		o.TokenURL, o.ClientID, o.Scopes = server.URL+"/token", "bridge", []string{"events"}
		c.SASL = &kafka.SASL{Mechanism: "OAUTHBEARER", OAuth: &o}
		return c
	}
	trust := &kafka.TLS{CAFile: files.CA}
	s := openSink(t, with(kafka.OAuth{ClientSecret: "s3cret", TLS: trust}))
	push(t, s, records(t, numbered(20, "oauth")))
	if asked != 1 {
		t.Errorf("the authorization server was asked %d times", asked)
	}
	refused(t, with(kafka.OAuth{ClientSecret: "wrong-hunter2", TLS: trust}), "hunter2")
	refused(t, with(kafka.OAuth{ClientSecret: "s3cret"}), "s3cret") // The server's certificate is unknown.

	// A server that does not answer costs the timeout, not more.
	stop := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer silent.Close()
	defer close(stop)
	c := with(kafka.OAuth{ClientSecret: "s3cret"})
	c.SASL.OAuth.TokenURL, c.Timeout = silent.URL, 200*time.Millisecond
	refused(t, c, "s3cret")
}

// signer signs tokens for the client "bridge".
type signer struct{ key *ecdsa.PrivateKey }

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key}
}

// jwks returns the public key as a JSON Web Key Set.
func (s *signer) jwks(t *testing.T) []byte {
	t.Helper()
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:]), "kid": "1", "alg": "ES256", "use": "sig",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// token returns a JSON Web Token that is valid for a time.
func (s *signer) token(t *testing.T, valid time.Duration) string {
	t.Helper()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"sub": "bridge", "iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(valid).Unix(), "scope": "events"})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"ES256","kid":"1","typ":"JWT"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:crypto.SHA256.Size()])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(append(fill(r), fill(v)...))
}

func fill(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
