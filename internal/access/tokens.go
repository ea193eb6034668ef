package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/internal/secret"
)

// digest of a bearer token. Digests of one length give away neither a token's length nor its beginning.
type digest [sha256.Size]byte

// holder is whom a token belongs to.
type holder struct {
	// principal is nil for a token of operators.
	principal *Principal
	operator  bool
}

// tokens finds the holders of bearer tokens. It follows the tokens' texts.
type tokens struct{ table *secret.Derived[[]entry] }

// entry is a token that has a text now.
type entry struct {
	value  secret.Value
	sum    digest
	holder holder
}

// tokensOf is a list of tokens of one holder.
type tokensOf struct {
	holder holder
	values []secret.Value
}

func newTokens(lists []tokensOf) tokens {
	var values []secret.Value
	holders := map[secret.Value]holder{}
	for _, list := range lists {
		values = append(values, list.values...)
		for _, v := range list.values {
			holders[v] = list.holder
		}
	}
	table, _ := secret.Derive(values, func(all []secret.Entry) ([]entry, error) { // never fails
		entries := make([]entry, len(all))
		for i, e := range all {
			entries[i] = entry{e.Value, sha256.Sum256([]byte(e.Text)), holders[e.Value]}
		}
		return entries, nil
	})
	return tokens{table: table}
}

// bearer returns the digest of the token in the only value of the authorization header.
func bearer(authorization []string) (digest, bool) {
	if len(authorization) != 1 {
		return digest{}, false
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return digest{}, false
	}
	return sha256.Sum256([]byte(token)), true
}

// find returns the holders of a token, the zero holder if it has none, and records the token's use. The time it takes does not depend on
// the tokens, unless one matches.
func (t tokens) find(sum digest, now time.Time) holder {
	var found holder
	for _, e := range t.table.Get() {
		if subtle.ConstantTimeCompare(sum[:], e.sum[:]) == 0 {
			continue
		}
		e.value.Use(now)
		found.operator = found.operator || e.holder.operator
		if found.principal == nil {
			found.principal = e.holder.principal
		}
	}
	return found
}
