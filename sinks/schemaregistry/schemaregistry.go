// Package schemaregistry registers the schemas of events with a schema registry that has Confluent's API, and makes the prefix by
// which that wire format names a schema.
//
// A [Client] looks a schema up before it registers it. So a schema that somebody else registered needs no right to write, and a start
// changes nothing once the schema is there. The schemas that a protobuf file imports are registered first, each under its import path
// as the subject, which is the default of Confluent's serializers.
//
// # Errors
//
// A registry that is away, or that refuses a schema, says nothing about an event. So no error has [sinks.ErrPermanent]. The caller
// tries again until an operator has corrected the cause, and the error says what to do.
package schemaregistry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxSubjects is the largest number of subjects whose ids a client remembers.
const maxSubjects = 1000

// Config configures a client. URL has no default.
type Config struct {
	// URL is the address of the API, such as "https://registry.example:8081", or "https://apicurio.example/apis/ccompat/v7".
	URL string
	// Authorization returns the value of the header Authorization for a request. It may be nil, or return "".
	Authorization func() string
	// TLS configures connections to https addresses. nil trusts the system's authorities.
	TLS *tls.Config
	// Timeout is the timeout of one request. 0 means 30 seconds.
	Timeout time.Duration
	// LookUpOnly makes the client register nothing.
	LookUpOnly bool
}

// CheckURL returns a problem of an address.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("is missing")
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("is not an address such as https://registry.example:8081")
	case u.User != nil:
		return errors.New("must not have a user: use username and password")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("must not have a query or a fragment")
	}
	return nil
}

// Client finds the ids of schemas. It is not safe for concurrent use.
type Client struct {
	base          string
	http          *http.Client
	transport     *http.Transport
	authorization func() string
	timeout       time.Duration
	lookUpOnly    bool

	// ids are the ids of schemas by subject, at most maxSubjects. imports are the versions of imported schemas.
	ids     map[string]uint32
	imports map[string]int
}

// New returns a client for an address that [CheckURL] accepts. It does not connect.
func New(c Config) *Client {
	transport := &http.Transport{TLSClientConfig: c.TLS, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute}
	client := &Client{
		base:      strings.TrimRight(c.URL, "/"),
		transport: transport,
		// A redirect could send credentials elsewhere.
		http:          &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		authorization: c.Authorization,
		timeout:       c.Timeout,
		lookUpOnly:    c.LookUpOnly,
		ids:           map[string]uint32{},
		imports:       map[string]int{},
	}
	if client.timeout == 0 {
		client.timeout = 30 * time.Second
	}
	return client
}

// Close releases the client's connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// ID returns the id of the schema for a subject, such as "bridge.events-value". It asks the registry once for each subject.
func (c *Client) ID(ctx context.Context, subject string, s *Schema) (uint32, error) {
	if id, ok := c.ids[subject]; ok {
		return id, nil
	}
	found, err := c.ensure(ctx, subject, s)
	if err != nil {
		// The versions of imports may be those of a registry that was emptied meanwhile.
		clear(c.imports)
		return 0, fmt.Errorf("schemaregistry: subject %s: %w", subject, err)
	}
	if len(c.ids) == maxSubjects {
		clear(c.ids)
	}
	c.ids[subject] = *found.ID
	return *found.ID, nil
}

// ensure looks the schema up, and registers it if it is not there. The version is that of a schema that was looked up.
func (c *Client) ensure(ctx context.Context, subject string, s *Schema) (registered, error) {
	body := request{Type: s.Type, Text: s.Text}
	for _, i := range s.Imports {
		version, err := c.importVersion(ctx, i)
		if err != nil {
			return registered{}, err
		}
		body.References = append(body.References, reference{i.Path, i.Path, version})
	}
	lookUp := "/subjects/" + url.PathEscape(subject)
	found, err := c.post(ctx, lookUp, body)
	if !isNotFound(err) {
		return found, err
	}
	if c.lookUpOnly {
		return registered{}, errors.New("the subject does not have the schema of this version of Bridge, and lookup_only is set: register the schema")
	}
	return c.post(ctx, lookUp+"/versions", body)
}

// importVersion returns the version of an imported schema.
func (c *Client) importVersion(ctx context.Context, i Import) (int, error) {
	if v, ok := c.imports[i.Path]; ok {
		return v, nil
	}
	found, err := c.ensure(ctx, i.Path, i.Schema)
	if err == nil && found.Version == 0 {
		// The answer to a registration has an id alone.
		found, err = c.ensure(ctx, i.Path, i.Schema)
	}
	if err != nil {
		return 0, fmt.Errorf("import %s: %w", i.Path, err)
	}
	c.imports[i.Path] = found.Version
	return found.Version, nil
}
