package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// key signs requests: with HMAC-SHA256 as "v1", or with ed25519 as "v1a".
type key struct {
	shared  []byte
	private ed25519.PrivateKey // Nil for a shared key.
}

var (
	errNoKey     = errors.New("is not whsec_ and 24 to 64 bytes in base64, such as of openssl rand -base64 32")
	errNoPrivate = errors.New("is not whsk_ and an ed25519 key of 32 bytes, or of 64 with its public half, in base64")
)

// parseKey reads a key in the notation of Standard Webhooks. Its errors do not show it.
func parseKey(text string) (key, error) {
	if text, found := strings.CutPrefix(text, "whsk_"); found {
		raw, err := base64.StdEncoding.DecodeString(text)
		switch {
		case err != nil:
		case len(raw) == ed25519.SeedSize:
			return key{private: ed25519.NewKeyFromSeed(raw)}, nil
		// With another public half, Go would make signatures that give the key away.
		case len(raw) == ed25519.PrivateKeySize && ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]).Equal(ed25519.PrivateKey(raw)):
			return key{private: raw}, nil
		}
		return key{}, errNoPrivate
	}
	text, found := strings.CutPrefix(text, "whsec_")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !found || err != nil || len(raw) < 24 || len(raw) > 64 {
		return key{}, errNoKey
	}
	return key{shared: raw}, nil
}

// sign returns the signatures of all keys, separated by spaces. A receiver accepts the request if it knows one of the keys.
func sign(keys []key, id string, at time.Time, body []byte) string {
	head := id + "." + strconv.FormatInt(at.Unix(), 10) + "."
	signatures := make([]string, len(keys))
	for i, k := range keys {
		if k.private != nil {
			sum := ed25519.Sign(k.private, append([]byte(head), body...))
			signatures[i] = "v1a," + base64.StdEncoding.EncodeToString(sum)
			continue
		}
		sum := hmac.New(sha256.New, k.shared)
		sum.Write([]byte(head))
		sum.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(sum.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
