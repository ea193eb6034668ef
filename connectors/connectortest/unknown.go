package connectortest

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// newField is a name that no vendor has.
const newField = "bridge_unheard_of"

// newValue is what a new field may hold: more than a scalar.
var newValue = map[string]any{newField: []any{nil, "x", map[string]any{"y": json.Number("1")}}}

func checkUnknown(k *kit) error {
	return k.each(func(d document) error {
		root, err := k.parse(d)
		if err != nil {
			return nil //nolint:nilerr // it is another rule's business what becomes of it
		}
		before, err := k.rendered(d, root)
		if err != nil || before.fault != nil || before.unmapped() {
			return err
		}
		return declared(root, k.events[before.event].Method.Input(), "$", func(object map[string]any, path string) error {
			object[newField] = newValue
			defer delete(object, newField)
			after, err := k.rendered(d, root)
			want := vendorjson.Drift{Kind: vendorjson.Unknown, Path: path + "." + newField}
			isIt := func(x vendorjson.Drift) bool { return x.Kind == want.Kind && x.Path == want.Path }
			switch {
			case err != nil:
				return err
			case after.fault != nil:
				return fmt.Errorf("a new field in %s: %w", path, after.fault)
			case !same(before.translation, after.translation):
				return fmt.Errorf("a new field in %s changes what is made of it", path)
			case !slices.ContainsFunc(after.drift, isIt) && len(after.drift) < vendorjson.MaxDrifts:
				return fmt.Errorf("a new field in %s is not reported", path)
			}
			return nil
		})
	})
}

// rendered is the result of a document that came as d did.
func (k *kit) rendered(d document, root any) (r result, err error) {
	err = k.judge(d, root, func(x result) error { r = x; return nil })
	return r, err
}

// declared calls do for every object in v that stands for a message, md, or one within, with its path as drift has it. What
// is carried as it stands, and what is unknown anyway, is nobody's message.
func declared(v any, md protoreflect.MessageDescriptor, path string, do func(object map[string]any, path string) error) error {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	if err := do(object, path); err != nil {
		return err
	}
	fields := md.Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Message() == nil || isDecimal(fd) {
			continue
		}
		at := path + step(fd.JSONName())
		list, isList := object[fd.JSONName()].([]any)
		if !isList {
			list = []any{object[fd.JSONName()]}
		} else {
			at += "[]"
		}
		for _, v := range list {
			if err := declared(v, fd.Message(), at, do); err != nil {
				return err
			}
		}
	}
	return nil
}
