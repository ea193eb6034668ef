package simulate

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Without disorder, webhooks arrive in the order of their events, each record once. With disorder, some arrive after a later
// version of the same record, soon enough.
func TestDisorder(t *testing.T) {
	for _, percent := range []float64{0, 20, 100} {
		s := &server{}
		c := config(s, goodSample)
		c.Disorder = percent
		r := simulated(t, c)
		if r.Total.Sent != 100 || r.Total.Acknowledged != 100 {
			t.Errorf("%v percent: %+v", percent, r.Total)
		}
		after, happened := int64(0), time.Time{}
		latest := map[string]received{}
		for _, q := range s.requests {
			later, known := latest[id(q.body)]
			switch at := when(t, q.body); {
			case !known && at.Before(happened):
				t.Errorf("%v percent: %v comes after %v", percent, at, happened)
			case !known:
				happened = at
			default:
				after++
				if delayed := q.at.Sub(later.at); when(t, later.body).Sub(at) != versionsApart || delayed < minHoldBack || delayed > maxHoldBack {
					t.Errorf("%v percent: %s comes %v after %s", percent, q.body, delayed, later.body)
				}
			}
			latest[id(q.body)] = q
		}
		if least, most := int64(percent/2), int64(percent*1.5); after != r.HeldBack || after < least || after > min(most, 50) {
			t.Errorf("%v percent: %d after a later version, reported %d", percent, after, r.HeldBack)
		}
	}
}

// when returns the time in a body.
func when(t *testing.T, body string) time.Time {
	t.Helper()
	_, after, _ := strings.Cut(body, `"at":"`)
	at, err := time.Parse(time.RFC3339Nano, strings.TrimSuffix(after, `"}`))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// If a record has no time, or only a date, its versions could not be told apart: a webhook of another record is overtaken.
func TestDisorderWithoutTime(t *testing.T) {
	for name, at := range map[string]string{"no time": "never", "a day": "2023-01-23"} {
		s := &server{}
		c := config(s, strings.Replace(goodSample, "2023-01-23T10:28:10.010Z", at, 1))
		c.Disorder = 100
		simulated(t, c)
		records := map[string]bool{}
		for _, q := range s.requests {
			records[id(q.body)] = true
		}
		if len(records) != 100 {
			t.Errorf("%s: %d records of 100 webhooks", name, len(records))
		}
	}
}

// A webhook that is held back and never sent, because the run ended before, is not counted.
func TestHeldBackForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(&server{}, goodSample)
		c.Disorder = 100
		ctx, cancel := context.WithCancel(t.Context())
		c.Record = func(Record) error { cancel(); return nil }
		r, err := Run(ctx, c)
		if err != nil || r.HeldBack != 0 || r.Total.Sent != 1 || !r.Correct {
			t.Errorf("%d held back of %+v: %v", r.HeldBack, r.Total, err)
		}
	})
}

// id returns the part of a body that depends on the seed.
func id(body string) string {
	_, after, _ := strings.Cut(body, `"id":"`)
	return after[:36]
}

// Webhooks of the same moment differ by a millisecond: some vendors' webhooks differ in their time only.
func TestSameMoment(t *testing.T) {
	v, err := NewVendor(acme(goodSample), time.UTC, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w := v.Next(false, noon)
		if at := when(t, string(w.Body)); !at.Equal(noon.Add(time.Duration(i) * time.Millisecond)) {
			t.Errorf("number %d happened at %v", i, at)
		}
	}
}
