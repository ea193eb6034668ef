package connectors

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxDrift bounds the drift of one message, as the decoder bounds its own.
const maxDrift = 100

var (
	errNoCurrency  = errors.New("is an amount without a currency, and the source has none")
	errBadCurrency = errors.New("is an amount whose currency is not three capital letters, as ISO 4217 writes them")
)

// Fields reads the fields of one vendor message and remembers the first that is wrong, so that a translation stays one
// literal and asks once, at its end, whether it may be used:
//
//	f := connectors.NewFields(in.Source)
//	payment := &eventv1.Payment{
//		Id:     f.Need("$.ID", m.GetId()),
//		Amount: f.Money("$.Amount", m.GetAmount()),
//	}
//	return payment, f.Err()
//
// Paths are in the vendor's JSON names. A Fields belongs to one call of Translate.
type Fields struct {
	source Source
	err    error
	drift  []Drift
}

// NewFields returns a Fields for one message of source.
func NewFields(source Source) *Fields { return &Fields{source: source} }

// Need returns a text that must not be empty.
func (f *Fields) Need(path, text string) string {
	if text == "" {
		f.Fail(path, "is missing")
	}
	return text
}

// Supposed returns a text without which the message is not understood, though the vendor never promised it. Empty, it is
// [ErrUnmapped].
func (f *Fields) Supposed(text string) string {
	if text == "" && f.err == nil {
		f.err = ErrUnmapped
	}
	return text
}

// Money is [Money] in the source's currency, which must not be empty.
func (f *Fields) Money(path string, d *decimal.Decimal) *money.Money {
	return f.MoneyIn(path, d, "")
}

// MoneyIn is [Money] in a currency of its own, or in the source's where that is empty. It must not be empty in both, and
// must look like ISO 4217.
func (f *Fields) MoneyIn(path string, d *decimal.Decimal, currency string) *money.Money {
	m, err := Money(d, cmp.Or(currency, f.source.Currency))
	f.check(path, cmp.Or(err, checkCurrency(m)))
	return m
}

// Decimal is [Decimal], for quantities, rates and points.
func (f *Fields) Decimal(path string, d *decimal.Decimal) *decimal.Decimal {
	plain, err := Decimal(d)
	f.check(path, err)
	return plain
}

// ScaledMoneyIn is [ScaledMoney] in a currency as [Fields.MoneyIn] takes it.
func (f *Fields) ScaledMoneyIn(path string, v *int64, digits int, currency string) *money.Money {
	m := ScaledMoney(v, digits, cmp.Or(currency, f.source.Currency))
	f.check(path, checkCurrency(m))
	return m
}

// Currency returns a currency that stands alone, which must look like ISO 4217 unless it is empty.
func (f *Fields) Currency(path, code string) string {
	if code != "" && !isCurrency(code) {
		f.Fail(path, "is not three capital letters, as ISO 4217 writes currencies")
	}
	return code
}

// isCurrency looks at the form alone: vendors use codes that no list has, and lists change.
func isCurrency(code string) bool {
	return len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func checkCurrency(m *money.Money) error {
	code := m.GetCurrencyCode()
	switch {
	case m == nil:
		return nil
	case code == "":
		return errNoCurrency
	case !isCurrency(code):
		return errBadCurrency
	}
	return nil
}

// Time is [Time] in the source's zone.
func (f *Fields) Time(path, text string) *timestamppb.Timestamp {
	t, err := Time(text, f.source.Zone)
	f.check(path, err)
	return t
}

// Millis is [Millis].
func (f *Fields) Millis(path string, ms *int64) *timestamppb.Timestamp {
	t, err := Millis(ms)
	f.check(path, err)
	return t
}

// Date is [Date].
func (f *Fields) Date(path, text string) *date.Date {
	d, err := Date(text)
	f.check(path, err)
	return d
}

// Each makes one of every item of a vendor's list, which is at path: do gets the item and its own path. It stops at
// the first error that f records, because a translation with an error is not used.
func Each[From, To any](f *Fields, path string, list []From, do func(path string, item From) To) []To {
	var out []To
	for i, item := range list {
		if f.err != nil {
			return nil
		}
		out = append(out, do(path+"["+strconv.Itoa(i)+"]", item))
	}
	return out
}

// Fail records an error about the field at path. Only the first error counts.
func (f *Fields) Fail(path, format string, args ...any) {
	if f.err == nil {
		f.err = Errorf(path, format, args...)
	}
}

// Drift records that the value at path was not understood and is left out of the events. An empty value is no value.
func (f *Fields) Drift(path, value string) {
	if value != "" && len(f.drift) < maxDrift {
		f.drift = append(f.drift, Drift{Path: path, Value: value})
	}
}

// Drifts returns what Drift recorded, for [Translation.Drift].
func (f *Fields) Drifts() []Drift { return f.drift }

// Err returns the first error, an [*Error] or [ErrUnmapped], or nil.
func (f *Fields) Err() error { return f.err }

func (f *Fields) check(path string, err error) {
	if err != nil {
		f.Fail(path, "%v", err)
	}
}
