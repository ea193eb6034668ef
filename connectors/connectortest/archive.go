package connectortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// checkExpectations compares the result of a webhook with the expectations in its file, or rewrites them.
func (k *kit) checkExpectations(w sample.Webhook) error {
	var got []sample.Expectation
	err := within(func() (err error) {
		got, err = expectations(k.pipeline, w)
		return err
	})
	if err != nil {
		return err
	}
	file := filepath.Join("testdata", w.Name+".txtar")
	if *update {
		return rewrite(file, got)
	}
	if diff := cmp.Diff(lines(w.Expected), lines(got)); diff != "" {
		return fmt.Errorf("%s: the result differs; -update rewrites the file (-want +got):\n%s", file, diff)
	}
	return nil
}

func rewrite(file string, expected []sample.Expectation) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, sample.Rewrite(data, expected), 0o644) //nolint:gosec // Testdata is for everyone to read.
}

func lines(files []sample.Expectation) (all []string) {
	for _, f := range files {
		all = append(append(all, "-- "+f.Name+" --"), strings.Split(string(f.Data), "\n")...)
	}
	return all
}

// published is events.json of one document.
type published struct {
	Key    string            `json:"key"`
	Events []json.RawMessage `json:"events"`
}

// quarantine is quarantine.json.
type quarantine struct {
	Reason string `json:"reason"`
	Path   string `json:"path,omitempty"`
	Offset int64  `json:"offset"`
	// Problem is the connector's. The decoder's problems are not part of the expectations.
	Problem string `json:"problem,omitempty"`
}

// drifted is one line of drift.json.
type drifted struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Sample string `json:"sample"`
}

// element is one webhook of an array in events.json.
type element struct {
	*published
	Quarantine *quarantine `json:"quarantine,omitempty"`
	Drift      []drifted   `json:"drift,omitempty"`
}

// expectations renders the result of a webhook.
func expectations(p *pipeline, w sample.Webhook) ([]sample.Expectation, error) {
	if ping := p.ping(w); ping != nil {
		data, err := indented(struct {
			Ping string `json:"ping"`
		}{ping.Name})
		return []sample.Expectation{{Name: sample.Ping, Data: data}}, err
	}
	documents, list, fault := p.open(w)
	switch {
	case fault != nil:
		return single(element{Quarantine: quarantined(fault)})
	case !list:
		e, err := render(p.run(documents[0]))
		if err != nil {
			return nil, err
		}
		return single(e)
	}
	elements := make([]element, len(documents))
	for i, d := range documents {
		var err error
		if elements[i], err = render(p.run(d)); err != nil {
			return nil, err
		}
	}
	data, err := indented(elements)
	return []sample.Expectation{{Name: sample.Events, Data: data}}, err
}

// single renders the result of a webhook that is not an array as files.
func single(e element) (files []sample.Expectation, err error) {
	add := func(name string, v any) {
		data, problem := indented(v)
		files, err = append(files, sample.Expectation{Name: name, Data: data}), errors.Join(err, problem)
	}
	if e.Quarantine != nil {
		add(sample.Quarantine, e.Quarantine)
	} else {
		add(sample.Events, e.published)
	}
	if e.Drift != nil {
		add(sample.Drift, e.Drift)
	}
	return files, err
}

func render(r result) (e element, err error) {
	e.Drift = driftLines(r.drift)
	if r.refused() {
		e.Quarantine = quarantined(r.fault)
		return e, nil
	}
	e.published = &published{Key: "content hash", Events: make([]json.RawMessage, len(r.translation.Events))}
	if natural, ok := r.translation.Key.Natural(); ok {
		e.Key = "natural " + natural
	}
	for i, event := range r.translation.Events {
		if e.Events[i], err = protojson.Marshal(event); err != nil {
			return e, err
		}
	}
	return e, nil
}

func quarantined(f *intake.Fault) *quarantine {
	q := &quarantine{Reason: string(f.Reason), Path: f.Path, Offset: f.Offset}
	if f.Reason == intake.Untranslatable {
		q.Problem = f.Problem
	}
	return q
}

var kinds = map[vendorjson.Kind]string{
	vendorjson.Unknown: "unknown", vendorjson.Type: "type", vendorjson.Missing: "missing",
	vendorjson.Value: "value",
}

func driftLines(drifts []vendorjson.Drift) (all []drifted) {
	for _, d := range drifts {
		all = append(all, drifted{kinds[d.Kind], d.Path, string(d.Sample)})
	}
	return all
}

// indented formats v. It is stable: the white space of protojson alone changes between builds.
func indented(v any) ([]byte, error) {
	var compact, pretty bytes.Buffer
	enc := json.NewEncoder(&compact)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	err := json.Indent(&pretty, compact.Bytes(), "", "  ")
	return pretty.Bytes(), err
}
