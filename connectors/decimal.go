package connectors

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
)

// Bounds of a decimal: the digits before the point of 64-bit units, and as many decimals as databases and other languages keep.
// maxNumber bounds the text: room for these digits, zeros, separators, a currency and an exponent.
const (
	maxNumber   = 64
	maxWhole    = 19
	maxDecimals = 38
)

var (
	errNotDecimal    = errors.New("is not a decimal number")
	errTwoMeanings   = errors.New("is a number of two meanings: its separator may come before decimals or between thousands")
	errTooLong       = errors.New("has too many digits")
	errRange         = errors.New("is out of range: it has more than 19 digits before the decimal point")
	errManyDecimals  = errors.New("has more than 38 decimals")
	errMoneyRange    = errors.New("is out of range for money")
	errMoneyDecimals = errors.New("has more than nine decimals")
	errHasCurrency   = errors.New("is an amount of money where a number is expected")
	errTwoCurrencies = errors.New("names two currencies")
	errOtherCurrency = errors.New("names another currency than the webhook or the source")
)

// number is a decimal in parts.
type number struct {
	negative bool
	// whole has the digits before the decimal point, without leading zeros. fraction has the digits after it, as written.
	whole, fraction string
	// currencies are the codes that the text's currency sign may mean. Nil: it has none.
	currencies []string
}

// Plain reads a number in any form that [Money] reads, without regard to its currency. It returns the number in plain form:
// "-1234.50", without exponent, plus sign, separators and needless zeros before the point; empty for an empty text.
//
// Errors: not a number; a number of two meanings; more than 19 digits before the point, or more than 38 after it.
func Plain(text string) (string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return "", nil
	}
	n, err := readNumber(text)
	if err != nil {
		return "", err
	}
	return n.plain(), nil
}

// Decimal returns d in plain form, as [Plain] has it. It returns nil for nil and for an empty value. A number with a currency
// is an error.
func Decimal(d *decimal.Decimal) (*decimal.Decimal, error) {
	if isPlain(d.GetValue()) {
		return d, nil
	}
	text := strings.TrimSpace(d.GetValue())
	if text == "" {
		return nil, nil
	}
	n, err := readNumber(text)
	switch {
	case err != nil:
		return nil, err
	case n.currencies != nil:
		return nil, errHasCurrency
	}
	return &decimal.Decimal{Value: n.plain()}, nil
}

// isPlain reports whether a text is a number in plain form already, as most are. It may miss some.
func isPlain(text string) bool {
	whole, fraction, point := strings.Cut(text, ".")
	switch {
	case whole == "" || len(whole) > maxWhole || whole[0] == '0' && whole != "0" || !isDigits(whole):
		return false
	case point:
		return fraction != "" && len(fraction) <= maxDecimals && isDigits(fraction)
	}
	return true
}

// Money makes exact money of a decimal such as "99.00" or "1e3", or of an amount as people print it, such as "$1,234.00",
// "(5.00)" or "1 234,50 Kč". The package comment has the forms. A currency in the text must be the currency; if currency is
// empty, it takes its place. Money returns nil for nil and for an empty value.
//
// Errors: not a decimal; an amount of two meanings, such as "1,234"; another currency; more than nine decimals that are not
// zero; more than 64 bits of whole units.
func Money(d *decimal.Decimal, currency string) (*money.Money, error) {
	text := strings.TrimSpace(d.GetValue())
	if text == "" {
		return nil, nil
	}
	n, err := readNumber(text)
	switch {
	case errors.Is(err, errRange):
		return nil, errMoneyRange
	case errors.Is(err, errManyDecimals):
		return nil, errMoneyDecimals
	case err != nil:
		return nil, err
	}
	switch {
	case n.currencies == nil:
	case currency == "" && len(n.currencies) == 1:
		currency = n.currencies[0]
	case currency != "" && !slices.Contains(n.currencies, currency):
		return nil, errOtherCurrency
	}
	units, nanos, err := n.units()
	if err != nil {
		return nil, err
	}
	return &money.Money{CurrencyCode: currency, Units: units, Nanos: nanos}, nil
}

// readNumber reads a text that is not empty and has no space around it.
func readNumber(text string) (number, error) {
	if len(text) > maxNumber {
		return number{}, errTooLong
	}
	negative, digits, exponent, ok := scanDecimal(text)
	if !ok {
		return readPrinted(text)
	}
	return newNumber(negative, digits, exponent)
}

// newNumber makes a number of digits times a power of ten.
func newNumber(negative bool, digits string, exponent int) (number, error) {
	zero := strings.Trim(digits, "0") == ""
	switch {
	case zero && (exponent > 0 || exponent < -maxDecimals):
		return number{}, nil
	case zero:
		negative = false
	case exponent > maxWhole:
		return number{}, errRange
	case exponent < -2*maxNumber:
		return number{}, errManyDecimals
	}
	digits += strings.Repeat("0", max(0, exponent))
	// -exponent digits are after the point.
	exponent = min(exponent, 0)
	digits = strings.Repeat("0", max(0, -exponent-len(digits))) + digits
	point := len(digits) + exponent
	n := number{negative: negative, whole: strings.TrimLeft(digits[:point], "0"), fraction: digits[point:]}
	if len(n.fraction) > maxDecimals {
		n.fraction = strings.TrimRight(n.fraction, "0")
	}
	switch {
	case len(n.whole) > maxWhole:
		return number{}, errRange
	case len(n.fraction) > maxDecimals:
		return number{}, errManyDecimals
	}
	return n, nil
}

// plain returns the number in plain form.
func (n number) plain() string {
	text := n.whole
	if text == "" {
		text = "0"
	}
	if n.negative {
		text = "-" + text
	}
	if n.fraction != "" {
		text += "." + n.fraction
	}
	return text
}

// units returns whole units and nanos of the same sign.
func (n number) units() (units int64, nanos int32, err error) {
	fraction := strings.TrimRight(n.fraction, "0")
	if len(fraction) > 9 {
		return 0, 0, errMoneyDecimals
	}
	sign := ""
	if n.negative {
		sign = "-"
	}
	if units, err = strconv.ParseInt(sign+"0"+n.whole, 10, 64); err != nil {
		return 0, 0, errMoneyRange
	}
	small, err := strconv.ParseInt(sign+(fraction + "000000000")[:9], 10, 32)
	return units, int32(small), err
}

// scanDecimal splits "-12.5e3" into its sign, "125" and the power of ten to multiply by, 2.
func scanDecimal(s string) (negative bool, digits string, exponent int, ok bool) {
	if s[0] == '-' || s[0] == '+' {
		negative, s = s[0] == '-', s[1:]
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.Atoi(s[i+1:])
		if errors.Is(err, strconv.ErrSyntax) {
			return false, "", 0, false
		}
		// An exponent that is no int became the nearest one; this leaves room for the subtraction below.
		exponent, s = min(max(n, -1e6), 1e6), s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	digits = whole + fraction
	if digits == "" || !isDigits(digits) {
		return false, "", 0, false
	}
	return negative, digits, exponent - len(fraction), true
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
