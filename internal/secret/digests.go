package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"
)

// Digests compares a candidate with secrets. Digests of one length give away neither a secret's length nor its beginning.
type Digests struct{ derived *Derived[[]digest] }

type digest struct {
	value Value
	sum   [sha256.Size]byte
}

// NewDigests returns the digests of secrets, which follow their texts.
func NewDigests(values []Value) Digests {
	d, _ := Derive(values, func(entries []Entry) ([]digest, error) { // never fails
		all := make([]digest, len(entries))
		for i, e := range entries {
			all[i] = digest{e.Value, sha256.Sum256([]byte(e.Text))}
		}
		return all, nil
	})
	return Digests{d}
}

// Match reports whether the candidate is one of the secrets, and records its use. The time it takes does not depend on the
// secrets, unless one matches.
func (d Digests) Match(candidate string, now time.Time) bool {
	sum, match := sha256.Sum256([]byte(candidate)), -1
	all := d.derived.Get()
	for i := range all {
		match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], all[i].sum[:]), i, match)
	}
	if match < 0 {
		return false
	}
	all[match].value.Use(now)
	return true
}
