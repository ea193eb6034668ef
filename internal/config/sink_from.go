package config

import (
	"regexp"
	"strconv"
	"time"
)

// Start says where a sink with a new name starts. The zero value is the earliest event that is kept. At most one field is set.
type Start struct {
	// Latest is the log's end.
	Latest bool
	// Time is that of the first event: it was received then or later.
	Time time.Time
	// Position is that of the first event.
	Position uint64
	// Token is that of a subscription.
	Token string
}

// tokenForm matches the tokens of subscriptions.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{36,64}$`)

func (r resolver) from(path, value string) (s Start) {
	var err error
	switch value = text(path, value); {
	case value == "earliest":
	case value == "latest":
		s.Latest = true
	case isDigits(value):
		if s.Position, err = strconv.ParseUint(value, 10, 64); err != nil || s.Position == 0 {
			r.addf(path, "is no position: positions are whole numbers from 1 on")
		}
	case tokenForm.MatchString(value):
		s.Token = value
	default:
		if s.Time, err = time.Parse(time.RFC3339, value); err != nil {
			r.addf(path, "must be earliest, latest, a time such as 2026-03-01T00:00:00Z, a position, or the token of a subscription")
		}
	}
	return s
}

func isDigits(text string) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return text != ""
}
