package simulate

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// kind is the kind of a value, which determines how it is varied.
type kind uint8

const (
	_ kind = iota
	// kindHex is the digits of UUIDs and of other hexadecimal ids.
	kindHex
	// kindToken is the last letters and digits of other ids: a ULID, a KSUID, evt_1NG8Du2eZvKY.
	kindToken
	// kindNumber is the last group of digits of an id, a document's number or a phone number.
	kindNumber
	// kindAmount is money or a quantity.
	kindAmount
	kindGivenName
	kindFamilyName
	kindFullName
	kindMail
)

// value is a value that a webhook has, perhaps in several places.
type value struct {
	kind kind
	old  string
	// step and offset determine the numbers of a kindNumber: a different one for each webhook.
	step, offset uint64
}

// tells reports whether two webhooks that differ in this value are two events.
func (v *value) tells() bool { return v.kind == kindHex || v.kind == kindToken || v.kind == kindNumber }

var (
	uuidText = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hexText  = regexp.MustCompile(`(?i)^(?:[0-9a-f]{24}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$`)
	nilUUID  = regexp.MustCompile(`^[0-]+$`)
	// tokenText matches a long word of letters and digits, or a shorter one after a prefix for its type.
	tokenText = regexp.MustCompile(`^(?:(?:[A-Za-z]{1,12}_){1,3}[0-9A-Za-z]{10,40}|[0-9A-Za-z]{20,40})$`)

	// idNumber matches a JSON number that must be an id, because it is too long for anything else.
	idNumber = regexp.MustCompile(`^[1-9]\d{8,18}$`)
	// codeText matches a document's number: a few letters, with a group of digits at the end.
	codeText = regexp.MustCompile(`^\+?[0-9A-Za-z._/-]*\d$`)
	// codeKey matches the keys of numbers that may be short.
	codeKey = regexp.MustCompile(`(?i)(code|number|no)$`)
	// codeNever matches the keys of codes from public lists.
	codeNever = regexp.MustCompile(`(?i)(postal|zip|country|currency|(language|version|type|status|state|rate|date|time|hour|min|address\d?|table_?no)$)`)

	amountKey   = regexp.MustCompile(`(?i)(amount|price|total|gross|net|sales|paid|cost|value|tip|fee|tax|points|discount|receipt|balance)`)
	amountNever = regexp.MustCompile(`(?i)(rate|count|type|id|percent|number|note|calculation|products|credits)$`)
	amountText  = regexp.MustCompile(`^-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?$`)

	givenKey  = regexp.MustCompile(`(?i)(first_?name|given_?name)$`)
	familyKey = regexp.MustCompile(`(?i)(last_?name|family_?name|surname)$`)
	fullKey   = regexp.MustCompile(`(?i)^(customer_?name|cashier|creator|pic|courier|.*employee)$`)
	personKey = regexp.MustCompile(`(?i)(customer|person|recipient)(_?data)?$`)
	nameText  = regexp.MustCompile(`^\pL+(?: \pL+)*$`)
	mailText  = regexp.MustCompile(`^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$`)
)

// classify returns the kind of a scalar that is varied as a whole, and whether longer texts may contain it.
func classify(s scalar) (k kind, id bool) {
	switch text := s.text; {
	case hexText.MatchString(text) && strings.ContainsAny(text, "0123456789"):
		return kindHex, true
	case idNumber.MatchString(text) && fits(text):
		return kindNumber, true
	case s.isString && isToken(text):
		return kindToken, true
	case amountKey.MatchString(s.key) && !amountNever.MatchString(s.key):
		if amountText.MatchString(text) && len(significant(text)) >= 2 && len(significant(text)) <= 15 {
			return kindAmount, false
		}
		return 0, false
	case !s.isString || text == "":
		return 0, false
	case mailText.MatchString(text):
		return kindMail, false
	case nameText.MatchString(text):
		return classifyName(s), false
	case isCode(s):
		return kindNumber, len(text) >= 6
	}
	return 0, false
}

// isToken reports whether a string is an id with both letters and digits.
func isToken(text string) bool {
	tail := text[strings.LastIndexByte(text, '_')+1:]
	letters := strings.TrimFunc(tail, func(r rune) bool { return '0' <= r && r <= '9' })
	return tokenText.MatchString(text) && letters != "" && strings.ContainsAny(tail, "0123456789")
}

func classifyName(s scalar) kind {
	switch {
	case givenKey.MatchString(s.key):
		return kindGivenName
	case familyKey.MatchString(s.key):
		return kindFamilyName
	case fullKey.MatchString(s.key), strings.EqualFold(s.key, "name") && personKey.MatchString(s.parent):
		return kindFullName
	}
	return 0
}

// isCode reports whether a string is a document's number: mostly digits, some of them at the end. Under a key for numbers, one
// digit is enough.
func isCode(s scalar) bool {
	if len(s.text) > 40 || !codeText.MatchString(s.text) || codeNever.MatchString(s.key) {
		return false
	}
	digits, letters := 0, 0
	for _, c := range []byte(s.text) {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c|0x20 && c|0x20 <= 'z':
			letters++
		}
	}
	return lastDigits(s.text) >= 3 && digits >= letters || codeKey.MatchString(s.key)
}

// fits reports whether the number stays below 2^63 with any last digits.
func fits(number string) bool { return len(number) < 19 || number < "9223372" }

// lastDigits returns the number of digits at the end of a text.
func lastDigits(text string) int { return len(text) - len(strings.TrimRight(text, "0123456789")) }

// significant returns the digits of an amount from the first that is not zero: the same for 19.90 and, in cents, for 1990.
func significant(amount string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, amount), "0")
}

// maxVaried is the largest number of digits that change in a number.
const maxVaried = 12

// varied returns how many of the last digits of a number change: all but the first ones, which may show the type. If that is
// too few, all change.
func varied(text string) int {
	n := lastDigits(text)
	if n > 3 && text[len(text)-n] != '0' {
		n--
	}
	return min(n, maxVaried)
}

// minVaried is the least number of digits: "C-7" becomes "C-48151".
const minVaried = 5

// appendNumber appends the number of the nth webhook, which no other webhook has. It has as many digits as the sample's number
// while those suffice.
func (v *value) appendNumber(b []byte, n uint64) []byte {
	width := varied(v.old)
	b = append(b, v.old[:len(v.old)-width]...)
	if width < 3 {
		width = minVaried
	}
	room := pow10(width)
	if more := n / room; more > 0 {
		b = strconv.AppendUint(b, more, 10)
	}
	return appendPadded(b, (n%room*v.step+v.offset)%room, width)
}

func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

func appendPadded(b []byte, n uint64, width int) []byte {
	for at := pow10(width - 1); at > 0; at /= 10 {
		b = append(b, byte('0'+n/at%10))
	}
	return b
}

// appendHex replaces the digits. A UUID keeps its version and its variant.
func (v *value) appendHex(b []byte, r *rand.Rand) []byte {
	const lower, upper = "0123456789abcdef", "0123456789ABCDEF"
	digits := lower
	if strings.ToLower(v.old) != v.old {
		digits = upper
	}
	uuid := len(v.old) == 36
	var random uint64
	left := 0
	for i, c := range []byte(v.old) {
		if c == '-' || uuid && (i == 14 || i == 19) {
			b = append(b, c)
			continue
		}
		if left == 0 {
			random, left = r.Uint64(), 16
		}
		b = append(b, digits[random&15])
		random >>= 4
		left--
	}
	return b
}

// tokenVaried is the largest number of letters and digits that change in a token. The ones before may be a time.
const tokenVaried = 16

// appendToken replaces the last letters and digits. It does not use letters that some alphabets leave out.
func (v *value) appendToken(b []byte, r *rand.Rand) []byte {
	const digits, lower, upper = "0123456789", "abcdefghjkmnpqrstvwxyz", "ABCDEFGHJKMNPQRSTVWXYZ"
	from := max(strings.LastIndexByte(v.old, '_')+1, len(v.old)-tokenVaried)
	b = append(b, v.old[:from]...)
	for _, c := range []byte(v.old[from:]) {
		alphabet := digits
		switch {
		case 'a' <= c && c <= 'z':
			alphabet = lower
		case 'A' <= c && c <= 'Z':
			alphabet = upper
		}
		b = append(b, alphabet[r.IntN(len(alphabet))])
	}
	return b
}

// appendDigits replaces the digits of an amount. It keeps the zeros at the end: prices stay round, and fractions stay
// fractions.
func (v *value) appendDigits(b []byte, r *rand.Rand) []byte {
	changing := len(strings.TrimRight(v.old, "0"))
	for i := range changing {
		if i == 0 || i == changing-1 {
			b = append(b, byte('1'+r.IntN(9)))
			continue
		}
		b = append(b, byte('0'+r.IntN(10)))
	}
	return append(b, v.old[changing:]...)
}

// appendAmount writes the significant digits in the format of the sample's amount.
func appendAmount(b, old, digits []byte) []byte {
	leading := true
	for _, c := range old {
		if c < '0' || c > '9' || c == '0' && leading {
			b = append(b, c)
			continue
		}
		leading = false
		b = append(b, digits[0])
		digits = digits[1:]
	}
	return b
}

// Made-up people. The names are plain text in JSON.
var (
	givenNames  = [...]string{"Jana", "Petr", "Eva", "Tomáš", "Sari", "Budi", "Alice", "Omar", "Lucía", "Mateusz", "Aiko", "Zoë", "Anne", "Jörg", "Ivana", "Noah"}
	familyNames = [...]string{"Nováková", "Dvořák", "Černá", "Svoboda", "Dewi", "Santoso", "Smith", "Haddad", "Fernández", "Kowalski", "Tanaka", "de Vries", "Dupont", "Müller", "Kovač", "Brown"}
	mailNames   = [...]string{"jana", "petr", "eva", "tomas", "sari", "budi", "alice", "omar", "lucia", "mateusz", "aiko", "zoe", "anne", "joerg", "ivana", "noah"}
)

func (v *value) appendName(b []byte, r *rand.Rand) []byte {
	switch v.kind {
	case kindGivenName:
		return append(b, givenNames[r.IntN(len(givenNames))]...)
	case kindFamilyName:
		return append(b, familyNames[r.IntN(len(familyNames))]...)
	case kindFullName:
		b = append(append(b, givenNames[r.IntN(len(givenNames))]...), ' ')
		return append(b, familyNames[r.IntN(len(familyNames))]...)
	default:
		b = append(append(b, mailNames[r.IntN(len(mailNames))]...), '.')
		b = strconv.AppendUint(b, r.Uint64N(1e7), 10)
		return append(b, v.old[strings.IndexByte(v.old, '@'):]...)
	}
}
