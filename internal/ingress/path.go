package ingress

import (
	"net/url"
	"strings"
)

// prefix of all webhooks' paths.
const prefix = "/webhooks/"

// tokenSegment precedes a path token.
const tokenSegment = "t"

// route has the parts of a path.
type route struct {
	source string
	// tokened: the path has a token.
	tokened bool
	token   string
	// event is the vendor's name for the event, empty if the path has none.
	event string
}

// parsePath reads a webhook's path. ok is false for any other.
func parsePath(u *url.URL) (r route, ok bool) {
	path, escaped := u.Path, false
	if u.RawPath != "" {
		// The path has escapes that matter, such as an escaped slash: split first, then unescape.
		path, escaped = u.RawPath, true
	}
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return route{}, false
	}
	rest = strings.TrimSuffix(rest, "/")
	r.source, rest, ok = strings.Cut(rest, "/")
	if !ok {
		return r, r.unescape(escaped) && r.source != ""
	}
	if token, found := strings.CutPrefix(rest, tokenSegment+"/"); found {
		r.tokened = true
		r.token, rest, ok = strings.Cut(token, "/")
		if !ok {
			return r, r.unescape(escaped) && r.source != "" && r.token != ""
		}
	}
	r.event = rest
	valid := r.source != "" && r.event != "" && !strings.Contains(r.event, "/") && (!r.tokened || r.token != "")
	return r, valid && r.unescape(escaped)
}

// unescape undoes the escapes of each segment.
func (r *route) unescape(escaped bool) bool {
	if !escaped {
		return true
	}
	for _, s := range []*string{&r.source, &r.token, &r.event} {
		plain, err := url.PathUnescape(*s)
		if err != nil {
			return false
		}
		*s = plain
	}
	return true
}
