package secret

import (
	"fmt"
	"strings"
)

// The length of a token, in bytes. A short one can be guessed.
const (
	minToken = 16
	maxToken = 4 << 10
)

// CheckPathToken returns what is wrong with a secret segment of a URL, or nothing.
func CheckPathToken(token string) string { return checkToken(token, "-_", "dash and underscore") }

// CheckBearer returns what is wrong with a bearer token (RFC 6750), or nothing.
func CheckBearer(token string) string { return checkToken(token, "-._~+/=", "and -._~+/=") }

// checkToken checks a token of letters, digits and the characters in extra, which words name.
func checkToken(token, extra, words string) string {
	if len(token) < minToken || len(token) > maxToken {
		return fmt.Sprintf("must be at least %d and at most %d characters", minToken, maxToken)
	}
	for _, c := range []byte(token) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte(extra, c) < 0 {
			return "may only hold A-Z, a-z, 0-9, " + words
		}
	}
	return ""
}
