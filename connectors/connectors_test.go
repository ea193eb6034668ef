package connectors_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
)

func TestNaturalKey(t *testing.T) {
	keys := [][]string{
		{"a"},
		{"b"},
		{"a", "b"},
		{"b", "a"},
		{"ab"},
		{"a", "b", "c"},
		{"ab", "c"},
		{"a", "bc"},
		{"1:a"},
		{"a1:b"},
		{"a", "1:b"},
		{"a:1", "b"},
		{strings.Repeat("x", 11)},
		{"1", strings.Repeat("x", 11)},
	}
	seen := map[connectors.Key][]string{}
	for _, parts := range keys {
		k := connectors.NaturalKey(parts...)
		if other, taken := seen[k]; taken {
			t.Errorf("%q and %q have the same key", parts, other)
		}
		seen[k] = parts
		if k != connectors.NaturalKey(parts...) {
			t.Errorf("%q has two keys", parts)
		}
		if s, ok := k.Natural(); !ok || s == "" {
			t.Errorf("%q has the natural key %q, %t", parts, s, ok)
		}
	}
}

func TestKeyWithoutNature(t *testing.T) {
	for _, parts := range [][]string{nil, {""}, {"", "1"}, {"1", ""}} {
		if k := connectors.NaturalKey(parts...); k != connectors.ContentHash() {
			t.Errorf("%q has the key %v", parts, k)
		}
	}
	if s, ok := connectors.ContentHash().Natural(); ok || s != "" {
		t.Errorf("the content hash is natural: %q", s)
	}
}

func TestOwnID(t *testing.T) {
	own, natural := connectors.OwnID("evt_1"), connectors.NaturalKey("evt_1")
	ownKey, _ := own.Natural()
	naturalKey, _ := natural.Natural()
	if ownKey != naturalKey || !own.Own() || natural.Own() || connectors.OwnID("") != connectors.ContentHash() {
		t.Errorf("%+v, %+v, %+v", own, natural, connectors.OwnID(""))
	}
}

func TestError(t *testing.T) {
	var err error = connectors.Errorf("$.items[2].id", "is %q", "x")
	if got, want := err.Error(), `$.items[2].id is "x"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok || e.Path != "$.items[2].id" || e.Problem != `is "x"` {
		t.Errorf("got %+v", e)
	}
}
