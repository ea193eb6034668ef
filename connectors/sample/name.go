package sample

import (
	"strings"
	"unicode"
)

// NameFor returns the name of an event's main sample: shipping_ordered for "shipping.ordered", payment_created for
// "paymentCreated". The demo and the documentation use it, so it should have no
// drift. A connector's other samples are named after their trap.
func NameFor(event string) string {
	var b strings.Builder
	apart := true // a word begins here anyway
	for _, r := range event {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		if (unicode.IsUpper(r) || !letter) && !apart {
			b.WriteByte('_')
		}
		if letter {
			b.WriteRune(unicode.ToLower(r))
		}
		apart = !letter || unicode.IsUpper(r)
	}
	return strings.TrimSuffix(b.String(), "_")
}
