package main

import (
	"embed"
	"path"
	"slices"
	"strings"
)

// samples holds a webhook or two of each vendor, as <connector>.<event>.json: those that the vendors' pages print, mended
// where the page's text is broken; LINGA, whose page prints none, has one made up.
//
//go:embed samples/*.json
var samples embed.FS

// Samples with these prefixes are not for goodSamples: one cannot be decoded, the other is of an event nobody modelled.
const (
	brokenPrefix     = "broken."
	unmodelledPrefix = "unmodelled."
)

// sample is one webhook.
type sample struct {
	connector, event string
	body             []byte
}

// goodSamples returns the samples of all connectors, in the order of their names.
func goodSamples() []sample {
	files, err := samples.ReadDir("samples")
	if err != nil {
		panic(err) // embedded: cannot fail
	}
	var out []sample
	for _, f := range files {
		connector, event, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".json"), ".")
		if !strings.HasPrefix(f.Name(), brokenPrefix) && !strings.HasPrefix(f.Name(), unmodelledPrefix) {
			out = append(out, sample{connector, event, readSample(f.Name())})
		}
	}
	slices.SortStableFunc(out, func(a, b sample) int { return strings.Compare(a.connector, b.connector) })
	return out
}

func readSample(name string) []byte {
	body, err := samples.ReadFile(path.Join("samples", name))
	if err != nil {
		panic(err) // embedded: cannot fail
	}
	return body
}
