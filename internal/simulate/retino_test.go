package simulate_test

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/simulate"
)

// unavailable is a server that is down.
type unavailable struct{}

func (unavailable) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
}

// Retino gives a webhook up after 72 hours, and not before. docs/simulating.md says how to see that in less.
func TestRetinoGivesUp(t *testing.T) {
	for _, tt := range []struct {
		run   time.Duration
		scale float64
		lost  bool
	}{
		{72 * time.Hour, 1, true},
		{70 * time.Hour, 1, false},
		{20 * time.Second, 13000, true},
		{20 * time.Second, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var attempts int
			began := time.Now()
			r, err := simulate.Run(t.Context(), simulate.Config{
				Connector: retino.New(), Target: simulate.Target{URL: &url.URL{Scheme: "http", Host: "127.0.0.1"}},
				Transport: unavailable{}, Rate: max(simulate.MinRate, 20/tt.run.Seconds()), For: tt.run, Connections: 1, TimeScale: tt.scale,
				Seed: 1, Record: func(r simulate.Record) error { attempts = max(attempts, r.Attempts); return nil },
			})
			if err != nil || r.Total.Sent == 0 || r.Total.Lost+r.Total.Unfinished != r.Total.Sent {
				t.Fatalf("%v at %v: %v: %+v", tt.run, tt.scale, err, r.Total)
			}
			if lost := r.Total.Lost == r.Total.Sent; lost != tt.lost || lost && attempts != r.Retries+1 {
				t.Errorf("%v at %v: %+v after up to %d attempts", tt.run, tt.scale, r.Total, attempts)
			}
			if took := time.Since(began); took > 2*tt.run || tt.lost && took < tt.run*99/100 {
				t.Errorf("%v at %v: took %v", tt.run, tt.scale, took)
			}
		})
	}
}
