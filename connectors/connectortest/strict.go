package connectortest

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
)

// mutations is how many bodies are made of each document.
const mutations = 150

// fragments are what is put into bodies.
var fragments = []string{
	"{", "}", "[", "]", ",", ":", `"`, `\`, "null", "true", "{}", "[]", `""`, "-", "0", "1e999", "1e-999", "9007199254740993",
	"18446744073709551616", "0.1234567891", "\u00a0", "\x00", "\xff", `\u0000`, `\ud800`, "//", `,"":0`, `"a":1,"a":2,`, "\ufeff",
}

func checkMutated(k *kit) error {
	return k.each(func(d document) error {
		// The same bodies each time, so that what fails can be looked into.
		random := rand.New(rand.NewPCG(1, uint64(len(d.body)))) //nolint:gosec // nothing rests on its strength
		for range mutations {
			body := mutate(random, d.body)
			r := k.run(d.of(body))
			if err := sound(r); err != nil {
				return fmt.Errorf("%q: %w", body, err)
			}
			if r.fault != nil && r.message == nil {
				continue
			}
			root, err := parse(r.text)
			if err != nil {
				return fmt.Errorf("%q: accepted, though %w", body, err)
			}
			if r.message == nil {
				continue
			}
			if err := agree(root, r.message.ProtoReflect(), "$"); err != nil {
				return fmt.Errorf("%q: %w", body, err)
			}
		}
		return nil
	})
}

// mutate returns a body that differs from body in one to three places.
func mutate(random *rand.Rand, body []byte) []byte {
	b := slices.Clone(body)
	for range 1 + random.IntN(3) {
		from := random.IntN(len(b) + 1)
		to := min(from+random.IntN(12), len(b))
		piece := slices.Clone(b[from:to])
		switch random.IntN(5) {
		case 0:
			if from < len(b) {
				b[from] ^= 1 << random.IntN(8)
			}
		case 1:
			b = slices.Delete(b, from, to)
		case 2:
			b = slices.Insert(b, to, piece...)
		case 3:
			b = slices.Insert(b, from, []byte(fragments[random.IntN(len(fragments))])...)
		case 4:
			b = slices.Insert(b, random.IntN(len(b)+1), piece...)
		}
	}
	return b
}

// agree says where a message differs from what any reader takes its JSON for. It has no opinion where a value is of another
// kind than its field: how tolerant to be is the decoder's business.
func agree(v any, m protoreflect.Message, path string) error {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if err := agreeField(object[fd.JSONName()], fd, m, path+step(fd.JSONName())); err != nil {
			return err
		}
	}
	return nil
}

func agreeField(v any, fd protoreflect.FieldDescriptor, m protoreflect.Message, path string) error {
	list, isList := v.([]any)
	switch {
	case v == nil:
		if m.Has(fd) {
			return fmt.Errorf("%s is %v, though it is not there", path, m.Get(fd))
		}
		return nil
	case optionsOf(fd).GetVerbatim(), fd.IsList() != isList:
		return nil
	case !fd.IsList():
		return agreeValue(v, fd, m.Get(fd), path)
	}
	list = slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == nil })
	got := m.Get(fd).List()
	if len(list) != got.Len() {
		return fmt.Errorf("%s has %d elements, not %d", path, got.Len(), len(list))
	}
	for i, v := range list {
		if err := agreeValue(v, fd, got.Get(i), path+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	return nil
}

func agreeValue(v any, fd protoreflect.FieldDescriptor, got protoreflect.Value, path string) error {
	agrees := true
	switch v := v.(type) {
	case map[string]any:
		if fd.Message() != nil && !isDecimal(fd) {
			return agree(v, got.Message(), path)
		}
	case string:
		agrees = fd.Kind() != protoreflect.StringKind || got.String() == v
	case bool:
		agrees = fd.Kind() != protoreflect.BoolKind || got.Bool() == v
	case json.Number:
		agrees = agreeNumber(v.String(), fd, got)
	}
	if !agrees {
		return fmt.Errorf("%s is %v, not %v", path, got, v)
	}
	return nil
}

func agreeNumber(v string, fd protoreflect.FieldDescriptor, got protoreflect.Value) bool {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return got.String() == v
	case protoreflect.MessageKind:
		if !isDecimal(fd) {
			return true
		}
		d, _ := got.Message().Interface().(*decimal.Decimal)
		return d.GetValue() == v
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		// It fits, or the body would have been refused; so the exponent is small.
		want, ok := new(big.Rat).SetString(v)
		return ok && want.Cmp(new(big.Rat).SetInt64(got.Int())) == 0
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		want, err := strconv.ParseFloat(v, 64)
		return err == nil && want == got.Float()
	}
	return true
}

func isDecimal(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == "google.type.Decimal"
}

func optionsOf(fd protoreflect.FieldDescriptor) *optionsv1.Field {
	field, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	return field
}
