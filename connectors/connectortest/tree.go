package connectortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parse reads one JSON document strictly: into maps, lists, strings, bools, nil and json.Number, with no key twice and
// nothing after it. A byte order mark before it is skipped.
func parse(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\uFEFF"))))
	dec.UseNumber()
	v, err := parseValue(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something comes after the document")
	}
	return v, nil
}

func parseValue(dec *json.Decoder) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		object := make(map[string]any)
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			if _, twice := object[name]; twice {
				return nil, fmt.Errorf("the key %q is there twice", name)
			}
			if object[name], err = parseValue(dec); err != nil {
				return nil, err
			}
		}
		_, err = dec.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	}
	return t, nil
}

// place is where a value stands in a document.
type place struct {
	path string
	// value that is there, and how to put another there. remove is nil for an element of a list.
	value  any
	set    func(any)
	remove func()
}

// places calls do for every value within root, the document's own excluded, and stops at an error.
func places(root any, do func(place) error) error { return placesIn(root, "$", do) }

func placesIn(v any, path string, do func(place) error) error {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			old := v[k]
			p := place{path + step(k), old, func(x any) { v[k] = x }, func() { delete(v, k) }}
			if err := visit(p, do); err != nil {
				return err
			}
		}
	case []any:
		for i, old := range v {
			p := place{path + "[" + strconv.Itoa(i) + "]", old, func(x any) { v[i] = x }, nil}
			if err := visit(p, do); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit has do change what stands in a place, and puts it back.
func visit(p place, do func(place) error) error {
	err := do(p)
	p.set(p.value)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return placesIn(p.value, p.path, do)
}

// step is what a name adds to a path, as the decoder writes it.
func step(name string) string {
	if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-$@") == "" {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}

// replacements are what each value is replaced by in turn.
var replacements = []any{
	nil, "", "\x00", json.Number("-1"), json.Number("9223372036854775807"), true, []any{}, map[string]any{}, []any{nil},
}

// variants hands judge the result of every document that differs from d in one value: removed, null, or of another kind. A
// document that is broken has none.
func (k *kit) variants(d document, judge func(result) error) error {
	root, err := k.parse(d)
	if err != nil {
		return nil //nolint:nilerr // it is another rule's business what becomes of it
	}
	return places(root, func(p place) error {
		if p.remove != nil {
			p.remove()
			if err := k.judge(d, root, judge); err != nil {
				return fmt.Errorf("removed: %w", err)
			}
		}
		for _, x := range replacements {
			p.set(x)
			if err := k.judge(d, root, judge); err != nil {
				return fmt.Errorf("replaced by %#v: %w", x, err)
			}
		}
		return nil
	})
}

// alter hands judge the result of every document that differs from d in one text or number: it is a little longer, or
// shorter, or in letters of the other case.
func (k *kit) alter(d document, judge func(result) error) error {
	root, err := k.parse(d)
	if err != nil {
		return nil //nolint:nilerr // it is another rule's business what becomes of it
	}
	return places(root, func(p place) error {
		for _, x := range alike(p.value) {
			p.set(x)
			if err := k.judge(d, root, judge); err != nil {
				return err
			}
		}
		return nil
	})
}

// alike are values that differ little from v, a text or a number. The first is longer.
func alike(v any) (all []any) {
	switch v := v.(type) {
	case json.Number:
		if v += "1"; v == "01" {
			v = "1"
		}
		all = append(all, v)
	case string:
		all = append(all, v+"1")
		if _, last := utf8.DecodeLastRuneInString(v); len(v) > last {
			all = append(all, v[:len(v)-last])
		}
		for _, other := range []string{strings.ToUpper(v), strings.ToLower(v)} {
			if other != v {
				all = append(all, other)
			}
		}
	}
	return all
}

// stranger is a document as much unlike d as it can be and still be translated, if d is.
func (k *kit) stranger(d document) *known {
	root, err := k.parse(d)
	var changes []func()
	judge := func(p place) error {
		values := alike(p.value)
		if len(values) == 0 {
			return nil
		}
		p.set(values[0])
		if r, err := k.rendered(d, root); err == nil && r.fault == nil && !r.unmapped() {
			changes = append(changes, func() { p.set(values[0]) })
		}
		return nil
	}
	if err == nil {
		_ = places(root, judge) // it says none
		for _, change := range changes {
			change()
		}
	}
	r, _ := k.rendered(d, root)
	return &known{event: r.event, message: r.message, text: r.text}
}

// judge has the result of a document judged that came as d did.
func (k *kit) judge(d document, root any, judge func(result) error) error {
	body, err := json.Marshal(root)
	if err != nil {
		return err
	}
	return judge(k.run(d.of(body)))
}
