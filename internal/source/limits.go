package source

import (
	"cmp"

	"github.com/webhook-bridge/bridge/internal/schema"
)

// Limits bounds what a source may cost. Zeros are the defaults of the configuration's schema until the source is resolved; then
// they are no limit.
type Limits struct {
	// Body is the largest body in bytes, also after decompression. The default is raised to what the
	// connector needs, where the sender is authenticated.
	Body int64
	// Rate is requests a second, averaged; an array of webhooks is one.
	Rate int
	// InFlight is bytes of bodies in flight at once, at least Body. The default is raised to Body.
	InFlight int64
	// Daily is bytes a day in UTC, at least Body.
	Daily int64
}

// limits fills in the defaults, and reports limits that not even one body keeps to.
func (r *resolver) limits() {
	l, open := &r.Limits, r.Auth.Scheme == SchemeNone
	body := schema.At("sources.limits.body").Of(open).Size()
	if !open && r.Connector != nil {
		body = max(body, r.Connector.MaxBody)
	}
	l.Body = cmp.Or(l.Body, body)
	l.Rate = cmp.Or(l.Rate, schema.At("sources.limits.rate").Of(open).Number())
	l.InFlight = cmp.Or(l.InFlight, max(schema.At("sources.limits.in_flight").Of(open).Size(), l.Body))
	l.Daily = cmp.Or(l.Daily, schema.At("sources.limits.daily").Of(open).Size())
	if l.InFlight < l.Body {
		r.addf("limits.in_flight", "must be at least the largest body, %s", schema.FormatSize(l.Body))
	}
	if l.Daily > 0 && l.Daily < l.Body {
		r.addf("limits.daily", "must be at least the largest body, %s", schema.FormatSize(l.Body))
	}
}
