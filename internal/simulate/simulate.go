// Package simulate behaves as a vendor does: it sends made-up webhooks over HTTP, waits for answers as long as the vendor waits,
// tries again when and as often as the vendor does, repeats itself, loses order, and gives up. In the end it says what it
// sent, what was answered, and what the vendor would have lost.
//
// # Webhooks
//
// They are the connector's samples, each time with other ids, numbers, times, amounts and people, found by how they look and
// by their keys. All else is the sample's, byte for byte. Each is another fact: no two have the same body. They begin in the order
// in which they happened; with disorder, some overtake an earlier version of the same record. See [Vendor].
//
// # Facts and requests
//
// A fact is a webhook that was sent at least once. It ends in exactly one [Outcome]. Each of its requests is the first one, a
// retry after an answer that was no success, or a duplicate after success. [Report.AddsUp] checks that facts, requests and
// answers, which are counted apart, agree.
//
// # Bounds
//
// Facts begin at random times whose mean is the rate. All connections busy, or too many facts waiting to be tried again, hold
// back those that have not begun: memory has a bound whatever the rate, and the report says by how much the schedule was missed.
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

// Config is what to simulate. The zero values of the optional fields are good.
type Config struct {
	Connector *connectors.Connector
	// Zone is for times without one. nil is UTC.
	Zone *time.Location
	// Target takes the webhooks.
	Target Target
	// Forged is the same with a wrong secret. nil: there is none to be wrong.
	Forged *Target
	// Transport sends requests. It should keep a connection alive for each of Connections.
	Transport http.RoundTripper

	// Rate is how many facts begin in a second, on average.
	Rate float64
	// For is how long facts begin, Count how many do. At least one is set.
	For   time.Duration
	Count int64
	// Connections is how many requests are under way at once, at most.
	Connections int
	// Shares of the facts in percent: sent again after success, overtaking an earlier version of the same record, broken, and with
	// a wrong secret.
	Duplicates, Disorder, Broken, WrongSecret float64
	// TimeScale is what the vendor's waits before retries are divided by. 0: as much as it takes for the longest to fit the
	// run.
	TimeScale float64
	// Seed decides the webhooks, when they begin, and what happens to them, as far as that does not depend on answers.
	Seed uint64

	// Record, if not nil, is called with each fact when nothing more will be sent of it, from one goroutine. Its error ends the
	// run. What it gets may not be kept.
	Record func(Record) error
}

// Target is where a source takes webhooks, and how its vendor proves who it is.
type Target struct {
	// URL is that of the source, with a secret path if it has one. The event's name is added.
	URL *url.URL
	// PublicURL is the base of the URL that is signed, without a slash at its end, if that is another one.
	PublicURL string
	// Header is added to each request, such as one with a secret.
	Header http.Header
	// Scheme signs requests. nil: they are not signed.
	Scheme *signature.Scheme
}

// Record is a fact and what became of it.
type Record struct {
	Event string `json:"event"`
	// Path is the event's name in the URL, where the vendor has it there.
	Path string `json:"path,omitempty"`
	// Key is the vendor's own id of the webhook, where it has one in a header.
	Key     string  `json:"key,omitempty"`
	Kind    Kind    `json:"kind"`
	Outcome Outcome `json:"outcome"`
	// Status is the latest answer's; 0 if there was none.
	Status int `json:"status"`
	// Attempts are requests until success, Duplicates those after it.
	Attempts   int    `json:"attempts"`
	Duplicates int    `json:"duplicates"`
	Body       []byte `json:"body"`
}

// Kind is what a fact is sent as.
type Kind string

// The kinds.
const (
	// Sound facts can be translated and bear the right secret.
	Sound Kind = "sound"
	// Broken ones cannot be translated.
	Broken Kind = "broken"
	// Forged ones have a wrong secret. They are tried once.
	Forged Kind = "forged"
)

// Outcome is what became of a fact, as the vendor sees it.
type Outcome string

// The outcomes.
const (
	// Acknowledged facts were answered with success.
	Acknowledged Outcome = "acknowledged"
	// Refused ones were given up after a 4xx answer other than 408 and 429, which says that trying again is useless.
	Refused Outcome = "refused"
	// Lost ones were given up after any other answer, or none.
	Lost Outcome = "lost"
	// Unfinished ones would have been tried again, or were under way.
	Unfinished Outcome = "unfinished"
)

// Limits of a configuration.
const (
	MinRate        = 0.001
	MaxRate        = 100_000
	MaxConnections = 1024
)

// check returns all that is wrong.
func (c *Config) check() error {
	var problems []error
	no := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf("simulate: "+format, args...))
		}
	}
	no(math.IsNaN(c.Rate) || c.Rate < MinRate || c.Rate > MaxRate, "the rate must be %v to %v a second", MinRate, MaxRate)
	no(c.For < 0 || c.Count < 0 || c.For == 0 && c.Count == 0, "for how long, or how many, must be above 0")
	no(c.Connections < 1 || c.Connections > MaxConnections, "the connections must be 1 to %d", MaxConnections)
	no(math.IsNaN(c.TimeScale) || c.TimeScale < 0, "the time scale must not be negative")
	for _, s := range []struct {
		name  string
		share float64
	}{{"duplicates", c.Duplicates}, {"disorder", c.Disorder}, {"broken", c.Broken}, {"wrong secrets", c.WrongSecret}} {
		no(math.IsNaN(s.share) || s.share < 0 || s.share > 100, "the share of %s must be 0 to 100 percent", s.name)
	}
	no(c.Broken+c.WrongSecret > 100, "the shares of broken webhooks and of wrong secrets must be 100 percent together at most")
	no(c.WrongSecret > 0 && c.Forged == nil, "there is no secret that could be wrong")
	return errors.Join(problems...)
}

// Run sends webhooks until the configured end, then what is still to be tried again, up to as long again as the run was. It
// ends early when ctx is done. The error is that of [Check], or Record's.
func Run(ctx context.Context, c Config) (*Report, error) {
	e, err := prepare(c)
	if err != nil {
		return nil, err
	}
	return e.run(ctx)
}

// Check says what is wrong with a configuration.
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
	if !vendor.Sound() {
		return nil, fmt.Errorf("simulate: connector %s has no sample that could be sent more than once", c.Connector.Name)
	}
	if c.Broken > 0 && !vendor.Broken() {
		return nil, fmt.Errorf("simulate: connector %s has no sample of a broken webhook", c.Connector.Name)
	}
	return newEngine(c, vendor), nil
}
