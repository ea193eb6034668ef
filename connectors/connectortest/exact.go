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

// pairs are numbers that differ in the last digit, or in the bits that a smaller type cuts off. A connector that loses a digit
// makes the same of both.
var pairs = [][2]string{
	{"9007199254740992", "9007199254740993"},       // 2^53, and the next integer, which no float64 has
	{"9223372036854775806", "9223372036854775807"}, // 2^63 - 1
	{"70403", "4295037699"},                        // the same in 32 bits
	{"70403", "70404"},                             // in thousandths, not in units
	{"0.123456788", "0.123456789"},                 // nine decimals
	{"70403.123456788", "70403.123456789"},
	{"90071992547409.123456788", "90071992547409.123456789"},
}

// marker and otherNumber are numbers that are not in testdata. A value that is copied has the digits of the marker.
const marker, otherNumber = "70403", "918273645"

var number = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

func checkExact(k *kit) error {
	return k.each(func(d document) error {
		root, err := k.parse(d)
		if r := k.run(d); err != nil || r.fault != nil || r.unmapped() {
			return nil //nolint:nilerr // other rules check the result
		}
		return places(root, func(p place) error {
			run := func(value any) (result, error) {
				p.set(value)
				return k.rendered(d, root)
			}
			if write := numberWriter(p.value); write != nil {
				return checkNumber(func(text string) (result, error) { return run(write(text)) })
			}
			if _, ok := p.value.(string); ok {
				return checkText(func(text string) (result, error) { return run(text) })
			}
			return nil
		})
	})
}

// numberWriter returns a function that writes another number in the form of v, or nil if v is not a number.
func numberWriter(v any) func(string) any {
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

// checkNumber checks the results of a webhook with various numbers in one place. run returns them.
func checkNumber(run func(text string) (result, error)) error {
	marked, err := run(marker)
	if err != nil {
		return err
	}
	unlike, err := run(otherNumber)
	if err != nil || marked.fault != nil || unlike.fault != nil || same(marked.translation, unlike.translation) {
		return err // the field is not a number, or the connector does not use it
	}
	copied := hasDigits(marked.translation, marker)
	for _, pair := range pairs {
		var results [2]result
		for i, text := range pair {
			if results[i], err = run(text); err != nil {
				return err
			}
			if results[i].fault == nil && copied && !hasDigits(results[i].translation, text) {
				return fmt.Errorf("the digits of %s are lost", text)
			}
		}
		if equal(results[0], results[1]) {
			return fmt.Errorf("%s and %s become the same", pair[0], pair[1])
		}
	}
	negative, err := run("-" + marker)
	if err == nil && hasAmount(marked.translation, marker) && equal(marked, negative) {
		err = errors.New("an amount loses its sign")
	}
	return err
}

// letters has both cases, and is no word, no time and no number.
const letters = "Kit-7qXv-TheseLettersTellNothing-z"

// checkText checks the results of a webhook with various texts in one place. run returns them.
func checkText(run func(text string) (result, error)) error {
	marked, err := run(letters)
	if err != nil {
		return err
	}
	unlike, err := run("Other-" + letters)
	if err != nil || marked.fault != nil || unlike.fault != nil || same(marked.translation, unlike.translation) {
		return err // the field is not a text, or the connector does not use it
	}
	for _, text := range []string{letters[:len(letters)-1] + "y", strings.ToLower(letters), strings.ToUpper(letters)} {
		next, err := run(text)
		if err != nil {
			return err
		}
		if equal(marked, next) {
			return fmt.Errorf("%s and %s become the same", letters, text)
		}
	}
	return nil
}

// equal says whether both results are translations, and the same.
func equal(a, b result) bool {
	return a.fault == nil && b.fault == nil && same(a.translation, b.translation)
}

// hasAmount says whether the digits of a number are in an amount of a translation. Discounts do not count: they have no sign.
func hasAmount(t connectors.Translation, text string) bool {
	return slices.ContainsFunc(monies(t), func(m amount) bool {
		return m.field.Name() != "discount" && strings.Contains(digits(withNanos(m.GetUnits(), m.GetNanos())), digits(text))
	})
}

// hasDigits says whether the digits of a number are in a value of a translation. A power of ten does not matter.
func hasDigits(t connectors.Translation, text string) bool {
	bare := digits(text)
	return slices.ContainsFunc(values(t), func(v string) bool { return strings.Contains(v, text) || strings.Contains(v, bare) })
}

// digits returns the digits of a decimal number without leading and trailing zeros.
func digits(text string) string { return strings.Trim(strings.ReplaceAll(text, ".", ""), "0") }

// values returns all values in a translation's events. Of numbers, it returns the digits.
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
