// Package simulate behaves like a vendor: it sends generated webhooks over HTTP, waits for answers as long as the vendor waits,
// retries by the vendor's delivery policy, sends duplicates, changes the order, and gives up. At the end it reports the sent
// webhooks, the answers, and what the vendor would have lost.
//
// # Webhooks
//
// They are the connector's samples with new ids, numbers, times, amounts and people in each webhook. The package finds these
// values by their form and by their keys, and keeps all other bytes. No two webhooks have the same body. They start in the
// order in which their events happened; with disorder, some overtake an earlier version of the same record. See [Vendor].
//
// # Webhooks and requests
//
// Every webhook that was sent at least once ends in exactly one [Outcome]. Each of its requests is the first one, a retry after
// an answer without success, or a duplicate after success. Webhooks, requests and answers are counted separately;
// [Report.AddsUp] checks that the counts agree.
//
// # Bounds
//
// Webhooks start at random times with the configured mean rate. If all connections are busy, or too many webhooks wait for a
// retry, new webhooks start later. So memory is bounded for every rate, and the report has the largest delay.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/signature"
)

// Config configures a simulation. The zero values of the optional fields are useful.
type Config struct {
	Connector *connectors.Connector
	// Zone is the zone of times without one. nil means UTC.
	Zone *time.Location
	// Target receives the webhooks.
	Target Target
	// UnauthorizedTarget is the target with a wrong secret. nil means that the source has no secret.
	UnauthorizedTarget *Target
	// Transport sends requests. It should keep a connection alive for each of Connections.
	Transport http.RoundTripper

	// Rate is the mean number of webhooks that start in a second.
	Rate float64
	// For limits the time in which webhooks start, Count their number. At least one is set.
	For   time.Duration
	Count int64
	// Connections is the largest number of concurrent requests.
	Connections int
	// Percentages of the webhooks: sent again after success, overtaking an earlier version of the same record, broken, and with
	// a wrong secret.
	Duplicates, Disorder, Broken, WrongSecret float64
	// TimeScale divides the vendor's waits before retries. 0 selects a scale by which the longest wait fits the run.
	TimeScale float64
	// Seed determines the webhooks, their start times and their kinds, as far as these do not depend on answers.
	Seed uint64

	// Record, if not nil, is called with each webhook after its last request, from one goroutine. Its error ends the run. It
	// must not keep its argument.
	Record func(Record) error
}

// Target is the address of a source, with the credentials of its vendor.
type Target struct {
	// URL is the source's URL, with its secret path if it has one. The event's name is appended.
	URL *url.URL
	// PublicURL is the base of the URL that is signed, without a slash at its end, if it differs from URL.
	PublicURL string
	// Header is added to each request, such as one with a secret.
	Header http.Header
	// Scheme signs requests. nil means no signature.
	Scheme *signature.Scheme
}

// Record is a webhook with its outcome.
type Record struct {
	Event string `json:"event"`
	// Path is the event's name in the URL, for vendors that have it there.
	Path string `json:"path,omitempty"`
	// Key is the vendor's own id of the webhook, if it has one in a header.
	Key     string  `json:"key,omitempty"`
	Kind    Kind    `json:"kind"`
	Outcome Outcome `json:"outcome"`
	// Status is the status of the latest answer; 0 if there was none.
	Status int `json:"status"`
	// Attempts is the number of requests until success, Duplicates the number after it.
	Attempts   int    `json:"attempts"`
	Duplicates int    `json:"duplicates"`
	Body       []byte `json:"body"`
}

// Kind is the kind of a webhook.
type Kind string

// The kinds.
const (
	// Valid webhooks can be translated and have the right secret.
	Valid Kind = "sound"
	// Broken webhooks cannot be translated.
	Broken Kind = "broken"
	// Unauthorized webhooks have a wrong secret. They are tried once.
	Unauthorized Kind = "forged"
)

// Outcome is the outcome of a webhook, from the vendor's view.
type Outcome string

// The outcomes.
const (
	// Acknowledged webhooks were answered with success.
	Acknowledged Outcome = "acknowledged"
	// Refused webhooks were given up after a 4xx answer other than 408 and 429: a retry would be useless.
	Refused Outcome = "refused"
	// Lost webhooks were given up after any other answer, or without one.
	Lost Outcome = "lost"
	// Unfinished webhooks were in flight or would have been retried.
	Unfinished Outcome = "unfinished"
)

// Limits of a configuration.
const (
	MinRate        = 0.001
	MaxRate        = 100_000
	MaxConnections = 1024
)

// check returns all problems.
func (c *Config) check() error {
	var problems []error
	report := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf("simulate: "+format, args...))
		}
	}
	report(math.IsNaN(c.Rate) || c.Rate < MinRate || c.Rate > MaxRate, "the rate must be %v to %v a second", MinRate, MaxRate)
	report(c.For < 0 || c.Count < 0 || c.For == 0 && c.Count == 0, "for how long, or how many, must be above 0")
	report(c.Connections < 1 || c.Connections > MaxConnections, "the connections must be 1 to %d", MaxConnections)
	report(math.IsNaN(c.TimeScale) || c.TimeScale < 0, "the time scale must not be negative")
	for _, s := range []struct {
		name  string
		share float64
	}{{"duplicates", c.Duplicates}, {"disorder", c.Disorder}, {"broken", c.Broken}, {"wrong secrets", c.WrongSecret}} {
		report(math.IsNaN(s.share) || s.share < 0 || s.share > 100, "the share of %s must be 0 to 100 percent", s.name)
	}
	report(c.Broken+c.WrongSecret > 100, "the shares of broken webhooks and of wrong secrets must be 100 percent together at most")
	report(c.WrongSecret > 0 && c.UnauthorizedTarget == nil, "there is no secret that could be wrong")
	return errors.Join(problems...)
}

// Run sends webhooks until the configured end, and then retries for at most the same time again. It ends early when ctx is
// done. The error is that of [Check], or Record's.
func Run(ctx context.Context, c Config) (*Report, error) {
	e, err := prepare(c)
	if err != nil {
		return nil, err
	}
	return e.run(ctx)
}

// Check returns all problems of a configuration.
func Check(c Config) error {
	_, err := prepare(c)
	return err
}

func prepare(c Config) (*engine, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	vendor, err := NewVendor(c.Connector, c.Zone, c.Seed)
	if err != nil {
		return nil, err
	}
	if !vendor.HasValid() {
		return nil, fmt.Errorf("simulate: connector %s has no sample that could be sent more than once", c.Connector.Name)
	}
	if c.Broken > 0 && !vendor.HasBroken() {
		return nil, fmt.Errorf("simulate: connector %s has no sample of a broken webhook", c.Connector.Name)
	}
	return newEngine(c, vendor), nil
}
