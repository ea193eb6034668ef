package main

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/simulate"
	"github.com/webhook-bridge/bridge/internal/source"
)

// variations is how many webhooks are made of each sample.
const variations = 200

// TestVariations makes webhooks of each connector's samples: valid ones are translated, to as many events, and are
// all different facts; those of broken ones are still broken, and all different.
func TestVariations(t *testing.T) {
	for name, c := range allConnectors() {
		files, err := fs.Glob(c.Samples, sample.Pattern)
		if err != nil {
			t.Fatal(err)
		}
		valid := 0
		for _, file := range files {
			one := onlySample(t, c, file)
			v, err := simulate.NewVendor(one, time.UTC, 1)
			if err != nil {
				t.Fatal(err)
			}
			if v.HasValid() {
				valid++
			}
			t.Run(name+"/"+strings.TrimSuffix(file[len("testdata/"):], ".txtar"), func(t *testing.T) {
				if !v.HasValid() && !v.HasBroken() {
					t.Skip("nothing in it tells one webhook from another")
				}
				checkVariations(t, one, v)
			})
		}
		if valid == 0 {
			t.Errorf("`bridge simulate` finds nothing in %s's samples by which webhooks differ. Give a sample an id as the vendor's are: a UUID, "+
				"a number of nine digits, or letters and digits after a prefix", name)
		}
	}
}

// onlySample returns the connector with one sample.
func onlySample(t *testing.T, c *connectors.Connector, file string) *connectors.Connector {
	t.Helper()
	data, err := fs.ReadFile(c.Samples, file)
	if err != nil {
		t.Fatal(err)
	}
	one := *c
	one.Samples = fstest.MapFS{file: {Data: data}}
	return &one
}

func checkVariations(t *testing.T, c *connectors.Connector, v *simulate.Vendor) {
	t.Helper()
	now := time.Now()
	bodies, keys := map[string]bool{}, map[string]bool{}
	for range variations {
		w := v.Next(v.HasBroken(), now)
		events, key, fault := translateWebhook(t, c, &w)
		natural, isNatural := key.Natural()
		switch {
		case w.Broken && fault == nil:
			t.Fatalf("is broken no more once its ids, times and amounts are others; let what is wrong with it not depend on them: %s", w.Body)
		case !w.Broken && fault != nil:
			t.Fatalf("is no longer valid once its ids, times and amounts are others; see package simulate, values.go, for what is varied: %v: %s",
				fault, w.Body)
		case !w.Broken && len(events) == 0:
			t.Fatalf("has become no event: %s", w.Body)
		case bodies[string(w.Body)]:
			t.Fatalf("comes twice: %s", w.Body)
		case isNatural && keys[natural]:
			t.Fatalf("is the same fact as another, with the key %s. Give the sample an id as long as the vendor's, or add to the key what "+
				"tells one from the next: %s", natural, w.Body)
		}
		bodies[string(w.Body)], keys[natural] = true, true
	}
	if !v.HasValid() {
		return
	}
	for range variations {
		earlier, later := v.Versions(now)
		for _, w := range []*simulate.Webhook{&earlier, &later} {
			if _, _, fault := translateWebhook(t, c, w); fault != nil || bodies[string(w.Body)] {
				t.Fatalf("a version of a record is no longer valid, or comes twice: %v: %s", fault, w.Body)
			}
			bodies[string(w.Body)] = true
		}
	}
}

// translateWebhook reads a webhook as Bridge does. An array's key is that of its first webhook.
func translateWebhook(t *testing.T, c *connectors.Connector, w *simulate.Webhook) ([]*eventv1.Event, connectors.Key, *intake.Fault) {
	t.Helper()
	s := source.Source{Name: "s", Connector: c, Zone: time.UTC}
	if c.NeedsCurrency {
		s.Currency = "EUR"
	}
	src := intake.NewSource(s, nil)
	d := intake.Delivery{Source: src, PathEvent: w.Path, Body: w.Body, Encoding: journalv1.Encoding_ENCODING_JSON}
	if w.Header.Get("Content-Type") == sample.Form {
		d.Encoding = journalv1.Encoding_ENCODING_FORM
	}
	if name := w.Header.Get(c.EventHeader); name != "" {
		d.Headers = []*journalv1.Header{{Name: c.EventHeader, Value: name}}
	}
	elements, fault := src.Elements(&d)
	if fault != nil {
		return nil, connectors.Key{}, fault
	}
	if elements == nil {
		elements = []intake.Delivery{d}
	}
	var events []*eventv1.Event
	var key connectors.Key
	for i := range elements {
		r := src.Read(&elements[i])
		if r.Fault != nil {
			return nil, key, r.Fault
		}
		if i == 0 {
			key = r.Translation.Key
		}
		events = append(events, r.Translation.Events...)
	}
	if w.Key != "" {
		key = connectors.NaturalKey("header", w.Key)
	}
	return events, key, nil
}
