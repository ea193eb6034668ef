package source

import (
	"cmp"

	"github.com/webhook-bridge/bridge/internal/schema"
)

// Limits bounds what a source may cost. Zeros are defaults until the source is resolved; then they are no limit.
type Limits struct {
	// Body is the largest body in bytes, also after decompression. Default: what the connector needs, at least 1 MiB; without
	// authentication 64 KiB.
	Body int64
	// Rate is requests a second, averaged; an array of webhooks is one. Default: no limit; without authentication 20.
	Rate int
	// InFlight is bytes of bodies in flight at once, at least Body. Default: 64 MiB, or Body if that is more.
	InFlight int64
	// Daily is bytes a day in UTC, at least Body. Default: no limit; without authentication 64 MiB.
	Daily int64
}

const (
	kibi = 1 << 10
	mebi = 1 << 20
)

// limits fills in the defaults, and reports limits that not even one body keeps to.
func (r *resolver) limits() {
	l := &r.Limits
	defaults := Limits{Body: mebi, InFlight: 64 * mebi}
	switch {
	case r.Auth.Scheme == SchemeNone:
		defaults = Limits{Body: 64 * kibi, Rate: 20, InFlight: 64 * mebi, Daily: 64 * mebi}
	case r.Connector != nil:
		defaults.Body = max(defaults.Body, r.Connector.MaxBody)
	}
	l.Body = cmp.Or(l.Body, defaults.Body)
	l.Rate = cmp.Or(l.Rate, defaults.Rate)
	l.InFlight = cmp.Or(l.InFlight, max(defaults.InFlight, l.Body))
	l.Daily = cmp.Or(l.Daily, defaults.Daily)
	if l.InFlight < l.Body {
		r.addf("limits.in_flight", "must be at least the largest body, %s", schema.FormatSize(l.Body))
	}
	if l.Daily > 0 && l.Daily < l.Body {
		r.addf("limits.daily", "must be at least the largest body, %s", schema.FormatSize(l.Body))
	}
}
