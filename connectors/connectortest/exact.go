package connectortest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
)

// pairs are numbers that differ in the last digit, or by what a smaller type would cut off. Whoever loses a digit makes the
// same of both.
var pairs = [][2]string{
	{"9007199254740992", "9007199254740993"},       // 2^53, and one that no float has
	{"9223372036854775806", "9223372036854775807"}, // 2^63 - 1
	{"70403", "4295037699"},                        // the same in 32 bits
	{"70403", "70404"},                             // in thousandths, not in units
	{"0.123456788", "0.123456789"},                 // nine decimals
	{"70403.123456788", "70403.123456789"},
	{"90071992547409.123456788", "90071992547409.123456789"},
}

// marker is a number that nothing in testdata is, and other one that nobody takes for it. A value that is copied shows its
// digits.
const marker, other = "70403", "918273645"

var number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

func checkExact(k *kit) error {
	return k.each(func(d document) error {
		root, err := k.parse(d)
		if r := k.run(d); err != nil || r.fault != nil || r.unmapped() {
			return nil //nolint:nilerr // it is another rule's business what becomes of it
		}
		return places(root, func(p place) error {
			run := func(value any) (result, error) {
				p.set(value)
				return k.rendered(d, root)
			}
			if with := numberLike(p.value); with != nil {
				return exact(func(text string) (result, error) { return run(with(text)) })
			}
			if _, ok := p.value.(string); ok {
				return literal(func(text string) (result, error) { return run(text) })
			}
			return nil
		})
	})
}

// numberLike returns how to write another number in the place of v, or nil if v is none.
func numberLike(v any) func(string) any {
	switch v := v.(type) {
	case json.Number:
		return func(text string) any { return json.Number(text) }
	case string:
		if number.MatchString(v) {
			return func(text string) any { return text }
		}
	}
	return nil
}

// exact judges a connector by what it makes of a webhook that has any number in one place.
func exact(run func(text string) (result, error)) error {
	marked, err := run(marker)
	if err != nil {
		return err
	}
	unlike, err := run(other)
	if err != nil || marked.fault != nil || unlike.fault != nil || same(marked.translation, unlike.translation) {
		return err // it is not a number, or nothing is made of it
	}
	copied := shows(marked.translation, marker)
	for _, pair := range pairs {
		var results [2]result
		for i, text := range pair {
			if results[i], err = run(text); err != nil {
				return err
			}
			if results[i].fault == nil && copied && !shows(results[i].translation, text) {
				return fmt.Errorf("the digits of %s are lost", text)
			}
		}
		if confused(results[0], results[1]) {
			return fmt.Errorf("%s and %s become the same", pair[0], pair[1])
		}
	}
	negative, err := run("-" + marker)
	if err == nil && amounts(marked.translation, marker) && confused(marked, negative) {
		err = errors.New("an amount loses its sign")
	}
	return err
}

// letters are of both cases, and no word, no time and no number.
const letters = "Kit-7qXv-TheseLettersTellNothing-z"

// literal judges a connector by what it makes of a webhook that has any text in one place.
func literal(run func(text string) (result, error)) error {
	marked, err := run(letters)
	if err != nil {
		return err
	}
	unlike, err := run("Other-" + letters)
	if err != nil || marked.fault != nil || unlike.fault != nil || same(marked.translation, unlike.translation) {
		return err // no text is taken there, or nothing is made of it
	}
	for _, text := range []string{letters[:len(letters)-1] + "y", strings.ToLower(letters), strings.ToUpper(letters)} {
		next, err := run(text)
		if err != nil {
			return err
		}
		if confused(marked, next) {
			return fmt.Errorf("%s and %s become the same", letters, text)
		}
	}
	return nil
}

// confused says whether both webhooks are taken, for the same.
func confused(a, b result) bool {
	return a.fault == nil && b.fault == nil && same(a.translation, b.translation)
}

// amounts says whether the digits of a number are in one of the amounts of a translation that have a sign. Discounts have
// none.
func amounts(t connectors.Translation, text string) bool {
	return slices.ContainsFunc(monies(t), func(m amount) bool {
		return m.field.Name() != "discount" && strings.Contains(digits(withNanos(m.GetUnits(), m.GetNanos())), digits(text))
	})
}

// shows says whether the digits of a number are in one of the values of a translation, whatever power of ten it was
// multiplied by.
func shows(t connectors.Translation, text string) bool {
	bare := digits(text)
	return slices.ContainsFunc(values(t), func(v string) bool { return strings.Contains(v, text) || strings.Contains(v, bare) })
}

// digits returns the digits of a decimal number, but for zeros before and after.
func digits(text string) string { return strings.Trim(strings.ReplaceAll(text, ".", ""), "0") }

// values returns all values in a translation's events; of numbers, the digits.
func values(t connectors.Translation) (all []string) {
	for _, e := range t.Events {
		all = appendValues(all, e.ProtoReflect())
	}
	return all
}

func appendValues(all []string, m protoreflect.Message) []string {
	switch m := m.Interface().(type) {
	case *money.Money:
		return append(all, digits(withNanos(m.GetUnits(), m.GetNanos())))
	case *timestamppb.Timestamp:
		return append(all, digits(withNanos(m.GetSeconds(), m.GetNanos())))
	case *decimal.Decimal:
		return append(all, digits(m.GetValue()))
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		list := []protoreflect.Value{v}
		if fd.IsList() {
			list = list[:0]
			for i := range v.List().Len() {
				list = append(list, v.List().Get(i))
			}
		}
		for _, v := range list {
			if fd.Message() != nil {
				all = appendValues(all, v.Message())
			} else {
				all = append(all, v.String())
			}
		}
		return true
	})
	return all
}

func withNanos(units int64, nanos int32) string {
	return strconv.FormatInt(units, 10) + "." + fmt.Sprintf("%09d", max(nanos, -nanos))
}
