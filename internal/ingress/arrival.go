package ingress

import (
	"io"
	"net/http"
	"time"
)

const (
	// slowBody is how slowly a body may arrive, in bytes a second, once its patience is used up.
	slowBody = 8 * kibi
	// verifiedPatience is how long a body may take in addition, and how long its sender may pause. A body whose sender is not
	// verified yet has strangerPatience.
	verifiedPatience, strangerPatience = readTimeout, 5 * time.Second
	// moved is how much a deadline must move to be set again.
	moved = time.Second / 2
)

// arrival is a body that has time by the bytes that have arrived: its announced length counts for nothing.
type arrival struct {
	body    io.Reader
	control http.ResponseController
	// patience is verifiedPatience or strangerPatience.
	patience time.Duration
	began    time.Time
	received int64
	// due is the deadline that is set. It is zero while the server's own deadline holds, which is that of verifiedPatience.
	due time.Time
}

// begin makes a the arrival of a body, from now on.
func (a *arrival) begin(w http.ResponseWriter, body io.Reader, verified bool) {
	*a = arrival{body: body, control: *http.NewResponseController(w), patience: verifiedPatience, began: time.Now()}
	if !verified {
		a.patience = strangerPatience
		a.extend(a.began)
	}
}

// Read reads what has arrived, and gives the rest its time.
func (a *arrival) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	if a.received += int64(n); err == nil && n > 0 {
		a.extend(time.Now())
	}
	return n, err
}

// extend sets the deadline: the time that the bytes so far have earned, but no longer pause than the patience.
func (a *arrival) extend(now time.Time) {
	due := a.began.Add(a.patience + time.Duration(a.received)*time.Second/slowBody)
	if pause := now.Add(a.patience); pause.Before(due) {
		due = pause
	}
	if !a.due.IsZero() && due.Sub(a.due) < moved {
		return
	}
	a.due = due
	// Only test servers without a connection cannot set them.
	_ = a.control.SetReadDeadline(due)
	_ = a.control.SetWriteDeadline(due.Add(writeTimeout - readTimeout))
}
