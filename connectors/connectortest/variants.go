package connectortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// variants hands judge the result of every body that differs from a's in one value: removed, null, or of another kind. A
// body that is broken has none.
func variants(p *pipeline, a archive, judge func(result) error) error {
	if !wellFormed(a.body) {
		return nil
	}
	var root any
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.UseNumber()
	if err := dec.Decode(&root); err != nil {
		return err
	}
	try := func(what string) error {
		body, err := json.Marshal(root)
		if err != nil {
			return err
		}
		if err := judge(p.run(a.event, body)); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	return change(root, "$", try)
}

// replacements are what each value is replaced by in turn.
var replacements = []any{nil, "", "\x00", json.Number("-1"), json.Number("9223372036854775807"), true, []any{}, map[string]any{}, []any{nil}}

// change makes one change after the other anywhere in v, calls try after each, and takes it back.
func change(v any, path string, try func(what string) error) error {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			here, old := path+"."+k, v[k]
			delete(v, k)
			err := try(here + " removed")
			v[k] = old
			if err != nil {
				return err
			}
			if err := changeValue(old, here, func(x any) { v[k] = x }, try); err != nil {
				return err
			}
		}
	case []any:
		for i, old := range v {
			if err := changeValue(old, fmt.Sprintf("%s[%d]", path, i), func(x any) { v[i] = x }, try); err != nil {
				return err
			}
		}
	}
	return nil
}

func changeValue(old any, path string, set func(any), try func(what string) error) error {
	for _, x := range replacements {
		set(x)
		err := try(fmt.Sprintf("%s replaced by %#v", path, x))
		set(old)
		if err != nil {
			return err
		}
	}
	return change(old, path, try)
}
