package connectortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parse decodes one JSON document into maps, lists, strings, bools, nil and json.Number. It skips a byte order mark.
func parse(body []byte) (root any, err error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\uFEFF"))))
	dec.UseNumber()
	err = dec.Decode(&root)
	return root, err
}

// place is a value in a document, with functions to change it.
type place struct {
	path string
	// remove is nil for an element of an array.
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

// visit calls do for a place and the places within it, and restores the value.
func visit(p place, do func(place) error) error {
	err := do(p)
	p.set(p.value)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return placesIn(p.value, p.path, do)
}

// step returns a name as the decoder writes it in a path.
func step(name string) string {
	if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-$@") == "" {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}

// replacements are values that replace each value in turn.
var replacements = []any{
	nil, "", "\x00", json.Number("-1"), json.Number("9223372036854775807"), true, []any{}, map[string]any{}, []any{nil},
}

// variants calls check with the result of every document that differs from d in one value, which is removed or replaced. A document
// that is not JSON has no variants.
func (k *kit) variants(d document, check func(result) error) error {
	root, err := k.parse(d)
	if err != nil {
		return nil //nolint:nilerr // other rules check the result
	}
	return places(root, func(p place) error {
		if p.remove != nil {
			p.remove()
			if err := k.checkRoot(d, root, check); err != nil {
				return fmt.Errorf("removed: %w", err)
			}
		}
		for _, x := range replacements {
			p.set(x)
			if err := k.checkRoot(d, root, check); err != nil {
				return fmt.Errorf("replaced by %#v: %w", x, err)
			}
		}
		return nil
	})
}

// alter calls check with the result of every document that differs from d in one text or number, which is a little longer, or
// shorter, or in the other case.
func (k *kit) alter(d document, check func(result) error) error {
	root, err := k.parse(d)
	if err != nil {
		return nil //nolint:nilerr // other rules check the result
	}
	return places(root, func(p place) error {
		for _, x := range similar(p.value) {
			p.set(x)
			if err := k.checkRoot(d, root, check); err != nil {
				return err
			}
		}
		return nil
	})
}

// similar returns values that differ little from v, a text or a number. The first is longer.
func similar(v any) (all []any) {
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

// different returns a message that differs from d's in as many values as possible, and that is translated if d's is.
func (k *kit) different(d document) *message {
	root, err := k.parse(d)
	var changes []func()
	change := func(p place) error {
		values := similar(p.value)
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
		_ = places(root, change) // change returns no error
		for _, change := range changes {
			change()
		}
	}
	r, _ := k.rendered(d, root)
	return &message{event: r.event, message: r.message, text: r.text}
}

// rendered returns the result of a document like d with another root.
func (k *kit) rendered(d document, root any) (r result, err error) {
	err = k.checkRoot(d, root, func(x result) error { r = x; return nil })
	return r, err
}

// checkRoot calls check with the result of a document like d with another root.
func (k *kit) checkRoot(d document, root any, check func(result) error) error {
	body, err := json.Marshal(root)
	if err != nil {
		return err
	}
	return check(k.run(d.of(body)))
}
