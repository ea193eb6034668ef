package alerts

import "time"

// window measures how much counters grew lately: within span or, if that has fewer than minRequests, within the time of the
// last minRequests requests, but at most within maxAge.
type window struct {
	span        time.Duration
	minRequests float64
	maxAge      time.Duration
	// readings has the last reading before the window and all readings in it, the oldest first. Two neighbours always differ.
	readings []reading
}

type reading struct {
	at time.Time
	counts
}

// add adds a reading of the counters. It returns how much the counters grew, and within which time.
func (w *window) add(now time.Time, c counts) (growth counts, within time.Duration) {
	if n := len(w.readings); n == 0 || w.readings[n-1].counts != c {
		w.readings = append(w.readings, reading{now, c})
	}
	within = w.span
	// The counts of the oldest reading were made before the window.
	old := len(w.readings) - 1
	for ; old > 0; old-- {
		age := now.Sub(w.readings[old].at)
		if age >= w.span && (c.received-w.readings[old].received >= w.minRequests || age >= w.maxAge) {
			break
		}
		within = max(within, age.Round(time.Second))
	}
	w.readings = w.readings[old:]
	return c.minus(w.readings[0].counts), within
}

// ofRequests and ofQuarantine are the counters that an alert needs. A window of fewer counters has fewer readings.
func (c counts) ofRequests() counts {
	return counts{received: c.received, unauthorized: c.unauthorized}
}

func (c counts) ofQuarantine() counts { return counts{quarantined: c.quarantined} }
