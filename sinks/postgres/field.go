package postgres

import (
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// newField maps a field to columns. It is the one mapping: the tables of all kinds follow from the descriptors.
func newField(d protoreflect.FieldDescriptor) field {
	name := string(d.Name())
	one := func(kind string, values func(to []any, v protoreflect.Value) ([]any, error)) field {
		return field{d, []column{{name, kind}}, values}
	}
	if d.IsList() || d.IsMap() {
		return one("jsonb", nil)
	}
	switch d.Kind() {
	case protoreflect.StringKind:
		return one("text", func(to []any, v protoreflect.Value) ([]any, error) {
			return append(to, optional([]byte(v.String()))), nil
		})
	case protoreflect.BoolKind:
		return one("boolean", func(to []any, v protoreflect.Value) ([]any, error) { return append(to, v.Bool()), nil })
	case protoreflect.EnumKind:
		return one("text", func(to []any, v protoreflect.Value) ([]any, error) {
			return append(to, enumName(d.Enum(), v.Enum())), nil
		})
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return one("bigint", func(to []any, v protoreflect.Value) ([]any, error) { return append(to, v.Int()), nil })
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return one("numeric", func(to []any, v protoreflect.Value) ([]any, error) {
			return append(to, pgtype.Numeric{Int: new(big.Int).SetUint64(v.Uint()), Valid: true}), nil
		})
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return one("double precision", func(to []any, v protoreflect.Value) ([]any, error) { return append(to, v.Float()), nil })
	case protoreflect.MessageKind:
		return newMessageField(d, one)
	}
	return one("jsonb", nil)
}

// newMessageField maps the types that are one value to a column, or to two. Other messages are JSON.
func newMessageField(d protoreflect.FieldDescriptor, one func(string, func([]any, protoreflect.Value) ([]any, error)) field) field {
	switch d.Message().FullName() {
	case (&timestamppb.Timestamp{}).ProtoReflect().Descriptor().FullName():
		return one("timestamptz", appendTime)
	case (&date.Date{}).ProtoReflect().Descriptor().FullName():
		return one("date", appendDate)
	case (&decimal.Decimal{}).ProtoReflect().Descriptor().FullName():
		return one("numeric", appendDecimal)
	case (&money.Money{}).ProtoReflect().Descriptor().FullName():
		return field{d, []column{{string(d.Name()), "numeric"}, {string(d.Name()) + "_currency", "text"}}, appendMoney}
	}
	return one("jsonb", nil)
}

// enumName is the name without the enumeration's own: ORDER_STATUS_OPEN of OrderStatus is open. The zero value says nothing, so it is null.
func enumName(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) any {
	if n == 0 {
		return nil
	}
	value := d.Values().ByNumber(n)
	if value == nil {
		return strconv.Itoa(int(n)) // of a newer program
	}
	var prefix strings.Builder
	for i, c := range string(d.Name()) {
		if i > 0 && c >= 'A' && c <= 'Z' {
			prefix.WriteByte('_')
		}
		prefix.WriteRune(c)
	}
	return strings.TrimPrefix(strings.ToLower(string(value.Name())), strings.ToLower(prefix.String())+"_")
}

func appendTime(to []any, v protoreflect.Value) ([]any, error) {
	t, ok := v.Message().Interface().(*timestamppb.Timestamp)
	if !ok || !t.IsValid() {
		return nil, refusef("a time of the event is not valid")
	}
	return append(to, t.AsTime()), nil
}

// appendDate appends null for a date without year, month or day: a column has whole dates. The data have it.
func appendDate(to []any, v protoreflect.Value) ([]any, error) {
	d, ok := v.Message().Interface().(*date.Date)
	if !ok || d.GetYear() < 1 || d.GetMonth() < 1 || d.GetDay() < 1 {
		return append(to, nil), nil
	}
	day := time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, time.UTC)
	if day.Day() != int(d.GetDay()) || int(day.Month()) != int(d.GetMonth()) {
		return append(to, nil), nil // there is no such day
	}
	return append(to, pgtype.Date{Time: day, Valid: true}), nil
}

func appendDecimal(to []any, v protoreflect.Value) ([]any, error) {
	d, ok := v.Message().Interface().(*decimal.Decimal)
	if !ok || d.GetValue() == "" {
		return append(to, nil), nil
	}
	n, err := parseNumeric(d.GetValue())
	if err != nil {
		return nil, err
	}
	return append(to, n), nil
}

// parseNumeric reads a decimal of the canonical form, with its zeros at the end.
func parseNumeric(text string) (pgtype.Numeric, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	n, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok || len(text) > 128 || len(fraction) > 64 {
		return pgtype.Numeric{}, refusef("a decimal of the event is not of the canonical form")
	}
	return pgtype.Numeric{Int: n, Exp: int32(-len(fraction)), Valid: true}, nil
}

// appendMoney appends the amount and its currency. An amount has two decimals at least.
func appendMoney(to []any, v protoreflect.Value) ([]any, error) {
	m, ok := v.Message().Interface().(*money.Money)
	if !ok {
		return append(to, nil, nil), nil
	}
	exponent, scale, nanos := -9, int64(1_000_000_000), int64(m.GetNanos())
	for exponent < -2 && nanos%10 == 0 {
		exponent, scale, nanos = exponent+1, scale/10, nanos/10
	}
	n := big.NewInt(m.GetUnits())
	n.Mul(n, big.NewInt(scale)).Add(n, big.NewInt(nanos))
	return append(to, pgtype.Numeric{Int: n, Exp: int32(exponent), Valid: true}, optional([]byte(m.GetCurrencyCode()))), nil
}

// appendValues appends the values of a field's columns.
func (f *field) appendValues(to []any, data protoreflect.Message, texts *fieldTexts) ([]any, error) {
	switch {
	case !data.Has(f.descriptor) && (f.descriptor.HasPresence() || f.values == nil || f.descriptor.Kind() == protoreflect.StringKind):
		for range f.columns {
			to = append(to, nil)
		}
		return to, nil
	case f.values != nil:
		return f.values(to, data.Get(f.descriptor))
	}
	return append(to, texts.of(f.descriptor.JSONName())), nil
}
