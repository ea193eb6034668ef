package connectortest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/signature"
	"github.com/webhook-bridge/bridge/internal/source"
)

// Secrets of the kit's sources, before and after they are changed.
const (
	secretOld = "kit-secret-old-0123456789abcdef"
	secretNew = "kit-secret-new-0123456789abcdef"
	stranger  = "kit-secret-bad-0123456789abcdef"
)

// scheme is a way in which a sender proves who it is.
type scheme struct {
	name string
	// auth is how the edge checks it.
	auth func(secrets []string) source.Auth
	// prove adds the proof to a request.
	prove func(r *http.Request, body []byte, secret string)
	// forgeries make requests that prove nothing of one that was proven.
	forgeries []forgery
}

// forgery changes a request that was proven.
type forgery struct {
	name string
	make func(r *http.Request)
}

// schemes are those that the vendor has; one with a header of the kit's, if none is known.
func schemes(v connectors.Verification) (all []scheme, err error) {
	if v.Header != "" || v.HMAC == nil {
		all = append(all, headerScheme(cmp.Or(v.Header, "X-Kit-Secret")))
	}
	if v.HMAC != nil {
		signed, err := hmacScheme(*v.HMAC)
		if err != nil {
			return nil, err
		}
		all = append(all, signed)
	}
	return all, nil
}

func headerScheme(name string) scheme {
	set := func(value string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(name, value) } }
	return scheme{
		name: "header " + name,
		auth: func(secrets []string) source.Auth {
			return source.Auth{Scheme: source.SchemeHeader, Header: name, Values: secret.List(secrets...)}
		},
		prove: func(r *http.Request, _ []byte, secret string) { r.Header.Set(name, secret) },
		forgeries: []forgery{
			{"without secret", func(r *http.Request) { r.Header.Del(name) }},
			{"with an empty secret", set("")},
			{"with another's secret", set(stranger)},
			{"with half a secret", set(secretNew[:len(secretNew)/2])},
			{"with more than a secret", set(secretNew + "0")},
			{"with a secret in capitals", set(strings.ToUpper(secretNew))},
			{"with two secrets", func(r *http.Request) { r.Header.Add(name, secretNew) }},
		},
	}
}

func hmacScheme(spec connectors.HMAC) (scheme, error) {
	// Secrets as the vendor writes them.
	written := func(secret string) string {
		switch spec.SecretEncoding {
		case "hex":
			secret = hex.EncodeToString([]byte(secret))
		case "base64":
			secret = base64.StdEncoding.EncodeToString([]byte(secret))
		}
		return spec.SecretPrefix + secret
	}
	signers := make(map[string]*signature.Scheme)
	for _, secret := range []string{secretOld, secretNew, stranger} {
		signer, err := signature.Compile(spec, []string{written(secret)})
		if err != nil {
			return scheme{}, err
		}
		signers[secret] = signer
	}
	sign := func(r *http.Request, body []byte, secret string, at time.Time) {
		for _, name := range signers[secret].SignedHeaders() {
			if r.Header.Get(name) == "" {
				r.Header.Set(name, "kit")
			}
		}
		added := signers[secret].Sign(signature.Request{
			Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), URL: "http://" + r.Host + r.URL.RequestURI(),
			Header: r.Header, Body: body,
		}, at)
		for name, values := range added {
			r.Header[name] = values
		}
	}
	signed := scheme{
		name: "signature in " + spec.Header,
		auth: func(secrets []string) source.Auth {
			all := make([]string, len(secrets))
			for i := range secrets {
				all[i] = written(secrets[i])
			}
			return source.Auth{Scheme: source.SchemeHMAC, HMAC: &spec, Values: secret.List(all...)}
		},
		prove: func(r *http.Request, body []byte, secret string) { sign(r, body, secret, time.Now()) },
		forgeries: []forgery{
			{"without signature", func(r *http.Request) { r.Header.Del(spec.Header) }},
			{"with an empty signature", func(r *http.Request) { r.Header.Set(spec.Header, "") }},
			{"with a signature that is none", func(r *http.Request) { r.Header.Set(spec.Header, spec.Prefix+"no signature") }},
			{"with half a signature", func(r *http.Request) {
				value := r.Header.Get(spec.Header)
				r.Header.Set(spec.Header, value[:len(value)/2])
			}},
			{"with two headers of signatures", func(r *http.Request) { r.Header.Add(spec.Header, r.Header.Get(spec.Header)) }},
			{"signed by another", func(r *http.Request) { sign(r, bodyOf(r), stranger, time.Now()) }},
			{"signed for another body", func(r *http.Request) { sign(r, []byte("{}"), secretNew, time.Now()) }},
		},
	}
	if spec.TimestampHeader != "" || spec.TimestampPrefix != "" {
		long := spec.Tolerance + time.Hour
		signed.forgeries = append(signed.forgeries,
			forgery{"signed long ago", func(r *http.Request) { sign(r, bodyOf(r), secretNew, time.Now().Add(-long)) }},
			forgery{"signed long hence", func(r *http.Request) { sign(r, bodyOf(r), secretNew, time.Now().Add(long)) }})
	}
	return signed, nil
}

// bodyOf reads a request's body and leaves it to be read again.
func bodyOf(r *http.Request) []byte {
	var b bytes.Buffer
	_, _ = io.Copy(&b, r.Body) // it is in memory
	r.Body = io.NopCloser(bytes.NewReader(b.Bytes()))
	return b.Bytes()
}

func checkSecrets(k *kit) error {
	all, err := schemes(k.connector.Verification)
	if err != nil {
		return err
	}
	w, ok := k.witness()
	if !ok {
		return nil
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, k.blame(itself, func() error {
			if err := errors.Join(k.changing(s, w), k.changed(s, w)); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}

// witness is a webhook that makes events, or a list with one that does.
func (k *kit) witness() (sample.Webhook, bool) {
	for _, w := range k.webhooks {
		results, _ := k.results(w)
		if !k.bad[w.Name] && slices.ContainsFunc(results, func(r result) bool { return !r.refused() }) {
			return w, true
		}
	}
	return sample.Webhook{}, false
}

// changing judges a source with two secrets.
func (k *kit) changing(s scheme, w sample.Webhook) (err error) {
	e, err := k.openEdge(context.Background(), k.connector, s, secretNew, secretOld)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	for _, f := range s.forgeries {
		r := e.request(w)
		s.prove(r, w.Body, secretNew)
		f.make(r)
		if err := keptOut(e, r); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	for _, secret := range []string{secretOld, secretNew} {
		added, err := e.send(w, secret)
		if err != nil {
			return fmt.Errorf("with a secret of two: %w", err)
		}
		if results, _ := k.results(w); len(added) != len(results) {
			return fmt.Errorf("with a secret of two: %d webhooks stored", len(added))
		}
		// Not a duplicate of itself.
		e.wait(1000 * time.Hour)
	}
	return nil
}

// changed judges a source whose old secret is gone.
func (k *kit) changed(s scheme, w sample.Webhook) (err error) {
	e, err := k.openEdge(context.Background(), k.connector, s, secretNew)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	r := e.request(w)
	s.prove(r, w.Body, secretOld)
	if err := keptOut(e, r); err != nil {
		return fmt.Errorf("with the old secret: %w", err)
	}
	return nil
}

func keptOut(e *edge, r *http.Request) error {
	status, _, added, err := e.do(r)
	switch {
	case err != nil:
		return err
	case status != http.StatusUnauthorized || len(added) > 0:
		return fmt.Errorf("answer %d, %d webhooks stored", status, len(added))
	}
	return nil
}
