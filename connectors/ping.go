package connectors

import "strings"

// Ping is a webhook that a vendor sends to test an address, or to prove whose it is. It tells no fact. Bridge authenticates it like
// every webhook, answers it, stores it as a ping, and publishes nothing.
//
// Bridge knows what many vendors send, and a connector need not declare it (see [Connector.NoPings]): an empty body, `{}`, `null` and
// `[]`; a form with nothing but the webhook's id; an event that is not in the schema and is named "ping", "test", "webhook.test" and
// such; a small object with a challenge. A connector declares pings that look different, that deserve a name, or that need an
// answer of their own.
type Ping struct {
	// Name tells operators which ping it is: lower-case words with underscores, such as "test_button".
	Name string
	// Events are the vendor's names of its test events, in the body, the URL or the header. They are not in the schema.
	Events []string
	// Path and Value are another sign: a JSON path such as "$.type", and the text or number that is there. Both are set, or none.
	Path, Value string
	// Answer is the body of the answer, which is JSON. Empty: the connector's.
	Answer string
	// Challenge is the JSON path of a text that the answer repeats, as Reply says. Empty: none. A ping without a valid challenge is
	// answered like one that needs no such answer.
	Challenge string
	Reply     Reply
}

// Handshake is a request that is no webhook: the vendor proves that the address is its user's, or asks for permission to send.
// Bridge answers it, counts it and stores nothing. It is answered without authentication, apart from a path token, because vendors do
// not sign it; so the answer gives away nothing but the challenge, or its HMAC.
type Handshake struct {
	// Name tells operators which handshake it is: lower-case words with underscores, such as "subscription".
	Name string
	// Method of the request, such as "GET". With "POST", Query is set: a header alone would make a handshake of a webhook.
	Method string
	// Query is the name of the query parameter with the challenge, Header that of the header with it. One of them is set.
	Query, Header string
	// Where has further query parameters, and the values that they must have, such as "hub.mode": "subscribe".
	Where map[string]string
	// Token is the query parameter that must have one of the source's secrets, such as "hub.verify_token". Empty: none.
	Token string
	Reply Reply
}

// Reply is the answer to a challenge, always with status 200. With neither Field nor Header it is plain text.
type Reply struct {
	// Field is the field of a JSON object with the answer, Header the response header with it.
	Field, Header string
	// HMAC, if set, answers with the challenge's HMAC under the source's first secret, and not with the challenge.
	HMAC *ReplyHMAC
	// Echo is the field of the JSON object with the challenge itself, beside Field.
	Echo string
	// Headers are more response headers, with their values.
	Headers map[string]string
}

// ReplyHMAC says how the HMAC of a challenge is written. Its values are those of [HMAC].
type ReplyHMAC struct{ Algorithm, Encoding, Prefix string }

// MaxChallenge is the length of the longest challenge that is answered, in bytes.
const MaxChallenge = 1024

// ValidChallenge reports whether a challenge may be repeated: it is short, and has neither markup nor what a JSON body needs. So
// the answer is harmless in a browser, and the HMAC of a challenge is never the signature of a webhook with a body.
func ValidChallenge(challenge string) bool {
	if challenge == "" || len(challenge) > MaxChallenge {
		return false
	}
	for i := range len(challenge) {
		c := challenge[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune(" -._~:/+=,;@", rune(c)) {
			return false
		}
	}
	return true
}
