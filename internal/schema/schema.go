// Package schema reads the rules of the configuration's keys from the schema, bridge.config.v1: defaults and bounds. They stand
// there only. The reader of the file, the model of a source and the documentation take them from here.
//
// A key is named by its path, such as "sources[3].limits.body". The package panics on a path that is not in the schema, and on a
// rule that is not written as a value of the file: both are errors of the program, which a test of all keys excludes.
package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// Key is a key of the configuration with its rules.
type Key struct {
	path  string
	rules *optionsv1.Key
	// fallback is the default as it is written in the file. Empty: there is none.
	fallback string
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// At returns the key at path. Indexes of lists do not matter.
func At(path string) Key {
	path = indexes.ReplaceAllString(path, "")
	message := (&configv1.Config{}).ProtoReflect().Descriptor()
	var field protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		if message != nil {
			field = message.Fields().ByName(protoreflect.Name(name))
		}
		if message == nil || field == nil {
			panic(fmt.Sprintf("schema: there is no key %q", path))
		}
		message = field.Message()
	}
	rules := RulesOf(field)
	return Key{path, rules, rules.GetDefault()}
}

// RulesOf returns the rules of a key, or nil if it has none.
func RulesOf(field protoreflect.FieldDescriptor) *optionsv1.Key {
	rules, _ := proto.GetExtension(field.Options(), optionsv1.E_Key).(*optionsv1.Key)
	return rules
}

// Of returns the key with the defaults of a source: other ones where nothing authenticates its sender.
func (k Key) Of(unauthenticated bool) Key {
	if unauthenticated && k.rules.GetDefaultOpen() != "" {
		k.fallback = k.rules.GetDefaultOpen()
	}
	return k
}

// Shared returns the key with the defaults of a journal that several replicas share, or of one that they do not.
func (k Key) Shared(shared bool) Key {
	if shared && k.rules.GetDefaultShared() != "" {
		k.fallback = k.rules.GetDefaultShared()
	}
	return k
}

// Text returns the default of a text, or "".
func (k Key) Text() string { return k.fallback }

// Number returns the default of a number, or 0.
func (k Key) Number() int {
	if k.fallback == "" {
		return 0
	}
	n, err := strconv.Atoi(k.fallback)
	return must(n, err == nil, k, k.fallback)
}

// Duration returns the default of a duration, or 0.
func (k Key) Duration() time.Duration { return k.duration(k.fallback) }

// Size returns the default of a size in bytes, or 0.
func (k Key) Size() int64 { return k.size(k.fallback) }

// CheckDuration returns what is wrong with a duration that is set, or "".
func (k Key) CheckDuration(d time.Duration) string {
	least, most := k.duration(k.rules.GetMin()), k.duration(k.rules.GetMax())
	if d < least || most > 0 && d > most {
		return fmt.Sprintf("must be at least %s and at most %s", FormatDuration(least), FormatDuration(most))
	}
	return ""
}

// CheckSize returns what is wrong with a size that is set, or "". A size may always be as large as needed.
func (k Key) CheckSize(n, needed int64) string {
	least, most := k.size(k.rules.GetMin()), k.size(k.rules.GetMax())
	switch {
	case n < least:
		return "must be at least " + FormatSize(least)
	case most > 0 && n > max(most, needed):
		return "must be at most " + FormatSize(max(most, needed))
	}
	return ""
}

func (k Key) duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	return must(d, err == nil, k, text)
}

func (k Key) size(text string) int64 {
	if text == "" {
		return 0
	}
	n, ok := ParseSize(text)
	return must(n, ok, k, text)
}

func must[T any](value T, ok bool, k Key, text string) T {
	if !ok {
		panic(fmt.Sprintf("schema: %s has the rule %q", k.path, text))
	}
	return value
}

// ParseDuration returns the duration of a rule of the schema.
func ParseDuration(text string) time.Duration { return Key{path: "a duration"}.duration(text) }

// FormatDuration returns the text of d without zero units at its end: 168h and not 168h0m0s.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}
