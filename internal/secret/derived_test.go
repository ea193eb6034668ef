package secret

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDerived: what is made of secrets follows them, without the empty ones, and stays if new texts cannot be used.
func TestDerived(t *testing.T) {
	values, made := List("a", "", "c"), 0
	d, err := Derive(values, func(all []Entry) (string, error) {
		made++
		var b strings.Builder
		for _, e := range all {
			b.WriteString(e.Text)
		}
		if strings.Contains(b.String(), "!") {
			return "unusable", errors.New("unusable")
		}
		return b.String(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := func(text string, times int) {
		t.Helper()
		for range 3 {
			if got := d.Get(); got != text || made != times {
				t.Errorf("%q, made %d times; want %q, %d", got, made, text, times)
			}
		}
	}
	want("ac", 1)
	values[1].Replace("b")
	want("abc", 2)
	values[0].Replace("!")
	want("abc", 3)
	values[0].Replace("")
	want("bc", 4)
}

// TestUse: a use counts for the text of that time. Copies share everything.
func TestUse(t *testing.T) {
	values := List("old", "new")
	d, now := NewDigests(slices.Clone(values)), time.Unix(1700000000, 5)
	if d.Match("none", now) || !d.Match("new", now) {
		t.Error("the wrong one matches")
	}
	if !values[0].LastUsed().IsZero() || values[1].LastUsed().Unix() != now.Unix() {
		t.Errorf("used %v, %v", values[0].LastUsed(), values[1].LastUsed())
	}
	values[1].Replace("newer")
	if !values[1].LastUsed().IsZero() || d.Match("new", now) || !d.Match("newer", now) {
		t.Error("the old text counts")
	}
}

// TestReplaceUnderLoad: at each moment one of the texts matches.
func TestReplaceUnderLoad(t *testing.T) {
	value := New("0")
	d := NewDigests([]Value{value, New("")})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				if d.Match("", time.Now()) || d.Match("x", time.Now()) {
					t.Error("a stranger matches")
				}
			}
		})
	}
	for range 500 {
		value.Replace("1")
		value.Replace("0")
	}
	wg.Wait()
	if !d.Match("0", time.Now()) || d.Match("1", time.Now()) {
		t.Error("the last text does not match alone")
	}
}
