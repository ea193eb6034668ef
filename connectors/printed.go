package connectors

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// readPrinted reads an amount as people print it: with separators between thousands, a decimal comma, a currency before or
// after it, and a minus before or after it or parentheses in its place. It reads only forms of one meaning.
func readPrinted(text string) (number, error) {
	p := printed{rest: text}
	if err := p.strip(); err != nil {
		return number{}, err
	}
	digits, exponent, err := splitSeparators(p.rest)
	if err != nil {
		return number{}, err
	}
	if p.trailing && exponent == 0 && strings.HasSuffix(p.rest, ".") {
		return number{}, errNotDecimal // "5.-" may be five or minus five
	}
	n, err := newNumber(p.negative, digits, exponent)
	n.currencies = p.currencies
	return n, err
}

// printed is an amount whose signs and currencies are being removed.
type printed struct {
	rest                       string
	signed, negative, trailing bool
	currencies                 []string
}

// strip removes signs and currencies from both ends, until digits and separators are left.
func (p *printed) strip() error {
	for {
		p.rest = strings.TrimSpace(p.rest)
		first, size := utf8.DecodeRuneInString(p.rest)
		last, lastSize := utf8.DecodeLastRuneInString(p.rest)
		switch {
		case p.rest == "":
			return errNotDecimal
		case first == '(' && last == ')' && !p.signed:
			p.signed, p.negative, p.rest = true, true, p.rest[1:len(p.rest)-1]
		case (isMinus(first) || first == '+') && !p.signed:
			p.signed, p.negative, p.rest = true, first != '+', p.rest[size:]
		case isMinus(last) && !p.signed:
			p.signed, p.negative, p.trailing, p.rest = true, true, true, p.rest[:len(p.rest)-lastSize]
		case isMark(first):
			mark := p.rest[:len(p.rest)-len(strings.TrimLeftFunc(p.rest, isMarkOrStop))]
			if err := p.currency(mark, func(size int) { p.rest = p.rest[size:] }); err != nil {
				return err
			}
		case isMark(last) || last == '.' && strings.ContainsFunc(p.rest, isMark):
			bare := strings.TrimRightFunc(p.rest, isMarkOrStop)
			mark := strings.TrimLeft(p.rest[len(bare):], "./")
			if err := p.currency(mark, func(size int) { p.rest = p.rest[:len(p.rest)-size] }); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// currency reads a currency, and calls remove with its size. Without its full stop it may still be one: "$.50".
func (p *printed) currency(mark string, remove func(size int)) error {
	codes := currenciesOf(mark)
	if codes == nil && strings.HasSuffix(mark, ".") {
		mark = mark[:len(mark)-1]
		if r, _ := utf8.DecodeLastRuneInString(mark); unicode.Is(unicode.Sc, r) {
			codes = currenciesOf(mark)
		}
	}
	if codes == nil {
		return errNotDecimal
	}
	if p.currencies != nil {
		if codes = common(p.currencies, codes); codes == nil {
			return errTwoCurrencies
		}
	}
	p.currencies = codes
	remove(len(mark))
	return nil
}

// isMark reports whether a rune may be part of a currency.
func isMark(r rune) bool { return unicode.IsLetter(r) || unicode.Is(unicode.Sc, r) }

func isMarkOrStop(r rune) bool { return isMark(r) || r == '.' || r == '/' }

// isMinus knows the hyphen, the minus, and the dashes that programs print in their place.
func isMinus(r rune) bool {
	return strings.ContainsRune("-\u2212\u2010\u2011\u2012\u2013\uFE63\uFF0D", r)
}

// separatorOf returns '.', ',', '\” or ' ' for a separator in any of its forms, and 0 for any other rune.
func separatorOf(r rune) rune {
	switch r {
	case '.', ',', '\'', ' ':
		return r
	case '\u2019':
		return '\''
	case '\u00A0', '\u202F', '\u2007', '\u2009':
		return ' '
	}
	return 0
}

// splitSeparators reads digits with separators: the digits, and the power of ten to multiply them by.
func splitSeparators(text string) (digits string, exponent int, err error) {
	var separators []rune
	groups := []string{""}
	for _, r := range text {
		if r >= '0' && r <= '9' {
			groups[len(groups)-1] += string(r)
		} else if separator := separatorOf(r); separator != 0 {
			separators, groups = append(separators, separator), append(groups, "")
		} else {
			return "", 0, errNotDecimal
		}
	}
	digits = strings.Join(groups, "")
	if digits == "" {
		return "", 0, errNotDecimal
	}
	last := len(separators) - 1
	if last < 0 {
		return digits, 0, nil
	}
	decimals := groups[last+1]
	asWhole := areThousands(groups) && same(separators)
	asFraction := (separators[last] == '.' || separators[last] == ',' && decimals != "") &&
		(last == 0 || areThousands(groups[:last+1]) && same(separators[:last]) && separators[last-1] != separators[last])
	switch {
	case asWhole && asFraction:
		return "", 0, errTwoMeanings
	case asWhole:
		return digits, 0, nil
	case asFraction:
		return digits, -len(decimals), nil
	}
	return "", 0, errNotDecimal
}

func same(separators []rune) bool {
	for _, r := range separators {
		if r != separators[0] {
			return false
		}
	}
	return true
}

// areThousands reports whether groups of digits are what separators between thousands leave: "1|234|567", and in India
// "12|34|567".
func areThousands(groups []string) bool {
	first, last := groups[0], len(groups)-1
	if first == "" || first[0] == '0' || len(first) > 3 || last > 0 && len(groups[last]) != 3 {
		return false
	}
	for _, group := range groups[1:] {
		if len(group) != 3 {
			return areLakhs(groups)
		}
	}
	return true
}

func areLakhs(groups []string) bool {
	last := len(groups) - 1
	for _, group := range groups[1:last] {
		if len(group) != 2 {
			return false
		}
	}
	return len(groups[0]) <= 2
}
