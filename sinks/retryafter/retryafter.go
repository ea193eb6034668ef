// Package retryafter reads HTTP's header Retry-After.
package retryafter

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Parse returns the pause that a header asks for, in seconds or as a date, at most most. It is 0 if there is none.
func Parse(text string, now time.Time, most time.Duration) time.Duration {
	seconds, err := strconv.ParseUint(text, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && seconds > uint64(most/time.Second):
		return most
	case err == nil:
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), most)
}
