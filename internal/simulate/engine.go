package simulate

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	// defaultTimeout is the timeout for a vendor whose timeout is unknown.
	defaultTimeout = 30 * time.Second
	// maxWaitingBytes limits the memory of waiting webhooks.
	maxWaitingBytes = 64 << 20
	// deliveryOverhead is the memory of a waiting webhook without its body.
	deliveryOverhead = 1 << 10
	// minDrain is the minimum time for retries after the last webhook has started.
	minDrain = 10 * time.Second
	// repeatWithin is the longest time between success and the duplicate.
	repeatWithin = time.Second
	// overtakers is the mean number of webhooks that overtake one that is held back. minHoldBack and maxHoldBack limit the time
	// of the hold.
	overtakers  = 20
	minHoldBack = 100 * time.Millisecond
	maxHoldBack = 2 * time.Second
)

// delivery is a webhook that is being sent.
type delivery struct {
	webhook Webhook
	kind    Kind
	target  *Target
	route
	// id fills headers that are signed and that have no other value.
	id string
	// repeat means that the webhook is sent again after success, heldBack that a later version of its record is sent first.
	repeat, heldBack bool
	// due is the time of its next request, while it waits.
	due time.Time
	// attempts and duplicates count the sent requests. status is the status of the latest answer.
	attempts, duplicates int
	status               int
	acknowledged         bool
}

// waiting has deliveries by due time; see container/heap.
type waiting []*delivery

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(*delivery)) }
func (w *waiting) Pop() any {
	last := len(*w) - 1
	f := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return f
}

// engine runs a simulation. One goroutine owns it; other goroutines only send requests.
type engine struct {
	Config
	vendor *Vendor
	random *rand.Rand // separate, so that the webhooks do not depend on answers
	routes map[routeKey]route
	report *Report

	jobs         chan *delivery
	answers      chan answer
	inFlight     int
	waiting      waiting
	waitingBytes int // bytes of waiting deliveries
	maxBytes     int // limit of waitingBytes

	// arrival is the start time of the next webhook.
	arrival time.Time
	begun   int64
	// ended is the time at which the last webhook had started; zero before.
	began, ended time.Time
	failed       error
}

type routeKey struct {
	target *Target
	event  string
}

func newEngine(c Config, v *Vendor) *engine {
	e := &engine{
		Config:   c,
		vendor:   v,
		random:   newRandom(c.Seed + 1),
		routes:   map[routeKey]route{},
		jobs:     make(chan *delivery, c.Connections),
		answers:  make(chan answer, c.Connections),
		maxBytes: maxWaitingBytes,
	}
	if e.TimeScale == 0 {
		e.TimeScale = e.fittingScale()
	}
	e.report = newReport(&e.Config)
	return e
}

// fittingScale returns the scale by which the longest wait fits the run. It never makes a wait longer.
func (e *engine) fittingScale() float64 {
	run := e.For.Seconds()
	if counted := float64(e.Count) / e.Rate; run == 0 || e.Count > 0 && counted < run {
		run = counted
	}
	longest := time.Duration(0)
	for _, wait := range e.Connector.Delivery.Retries {
		longest = max(longest, wait)
	}
	return max(1, longest.Seconds()/run)
}

func (e *engine) run(ctx context.Context) (*Report, error) {
	p := &poster{transport: e.Transport, timeout: e.Connector.Delivery.Timeout, keyHeader: e.Connector.KeyHeader}
	if p.timeout == 0 {
		p.timeout = defaultTimeout
	}
	requests, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for range e.Connections {
		workers.Go(func() {
			for f := range e.jobs {
				e.answers <- p.post(requests, f)
			}
		})
	}
	e.began = time.Now()
	e.arrival = e.began.Add(e.interval())
	e.loop(ctx)
	// Requests in flight end, or are cancelled if the run is.
	if ctx.Err() != nil || e.failed != nil {
		cancel()
	}
	for e.inFlight > 0 {
		e.handleAnswer(<-e.answers)
	}
	cancel()
	close(e.jobs)
	workers.Wait()
	e.finishWaiting(time.Now(), ctx.Err() != nil)
	return e.report, e.failed
}

// interval returns the time between the starts of two webhooks, as in a Poisson process.
func (e *engine) interval() time.Duration {
	return time.Duration(e.random.ExpFloat64() / e.Rate * float64(time.Second))
}

// loop sends deliveries when they are due, until all have ended or ctx is done.
func (e *engine) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && e.failed == nil {
		now := time.Now()
		next, more := e.dispatch(now)
		if !more {
			return
		}
		timer.Reset(next.Sub(now))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case a := <-e.answers:
			e.handleAnswer(a)
			for range len(e.answers) {
				e.handleAnswer(<-e.answers)
			}
		}
	}
}

// idle is the wait for answers when no delivery is due.
const idle = time.Second

// dispatch sends the deliveries that are due while connections are free. It returns the time of its next call, if no answer
// arrives before, and whether anything is left to do.
func (e *engine) dispatch(now time.Time) (next time.Time, more bool) {
	for e.failed == nil {
		e.checkEnd(now)
		f, due := e.nextDue()
		switch {
		case due.IsZero():
			return e.capAtEnd(now.Add(idle)), e.ended.IsZero() || e.inFlight > 0
		case due.After(now):
			return e.capAtEnd(due), true
		case e.inFlight == e.Connections:
			return e.capAtEnd(now.Add(idle)), true
		case f == nil:
			e.startNext(now)
		default:
			heap.Pop(&e.waiting)
			e.waitingBytes -= f.cost()
			e.send(f)
		}
	}
	return now, true
}

// checkEnd sets the end of the time in which webhooks start, and records the delay of the next one.
func (e *engine) checkEnd(now time.Time) {
	if e.ended.IsZero() && (e.For > 0 && now.Sub(e.began) >= e.For || e.Count > 0 && e.begun >= e.Count) {
		e.ended = now
		e.recordDelay(now)
	}
}

// recordDelay records how late the next webhook is.
func (e *engine) recordDelay(now time.Time) {
	if e.Count == 0 || e.begun < e.Count {
		e.report.Behind = max(e.report.Behind, now.Sub(e.arrival).Seconds())
	}
}

// capAtEnd returns at, or the time after which no webhook starts if that is earlier.
func (e *engine) capAtEnd(at time.Time) time.Time {
	if end := e.began.Add(e.For); e.ended.IsZero() && e.For > 0 && end.Before(at) {
		return end
	}
	return at
}

// nextDue returns the next delivery and its time: a waiting one, or nil for a new one. The time is zero if there is neither.
func (e *engine) nextDue() (f *delivery, due time.Time) {
	if e.ended.IsZero() {
		if e.waitingBytes <= e.maxBytes {
			due = e.arrival
		} else {
			e.report.Full = true
		}
	}
	if len(e.waiting) > 0 {
		f = e.waiting[0]
		if (due.IsZero() || f.due.Before(due)) && !e.tooLate(f.due) {
			return f, f.due
		}
	}
	return nil, due
}

// tooLate reports whether a request is due after the time for retries has ended, so it is not sent.
func (e *engine) tooLate(due time.Time) bool {
	return !e.ended.IsZero() && due.Sub(e.ended) > max(e.ended.Sub(e.began), minDrain)
}

// startNext creates and sends the next delivery. With disorder, it also creates the one to overtake, and holds that back.
func (e *engine) startNext(now time.Time) {
	e.recordDelay(now)
	f := e.newDelivery()
	if holdBack := e.random.Float64()*100 < e.Disorder; !holdBack || f.kind != Valid || e.begun == e.Count {
		f.webhook = e.vendor.Next(f.kind == Broken, now)
		e.setRoute(f)
		e.send(f)
		return
	}
	delayed := e.newDelivery()
	delayed.kind, delayed.target, delayed.heldBack = Valid, &e.Target, true
	delayed.webhook, f.webhook = e.vendor.Versions(now)
	e.setRoute(f)
	e.setRoute(delayed)
	until := min(time.Duration(e.random.Float64()*overtakers/e.Rate*float64(time.Second)), maxHoldBack)
	e.enqueue(delayed, now.Add(max(until, minHoldBack)))
	e.send(f)
}

// newDelivery returns the next delivery of the schedule, without its webhook.
func (e *engine) newDelivery() *delivery {
	e.arrival = e.arrival.Add(e.interval())
	e.begun++
	f := &delivery{kind: Valid, target: &e.Target}
	switch kind := e.random.Float64() * 100; {
	case kind < e.Broken:
		f.kind = Broken
	case kind < e.Broken+e.WrongSecret:
		f.kind, f.target = Unauthorized, e.UnauthorizedTarget
	}
	f.repeat = e.random.Float64()*100 < e.Duplicates && f.kind != Unauthorized
	return f
}

// setRoute sets the URL and the id of a delivery.
func (e *engine) setRoute(f *delivery) {
	if f.id = f.webhook.Key; f.id == "" && f.target.Scheme != nil {
		f.id = newUUID(e.random)
	}
	var err error
	if f.route, err = e.route(f.target, f.webhook.Path); err != nil {
		e.failed = err
	}
}

func (e *engine) route(t *Target, event string) (route, error) {
	key := routeKey{t, event}
	if r, known := e.routes[key]; known {
		return r, nil
	}
	r, err := newRoute(t, event)
	e.routes[key] = r
	return r, err
}

func (f *delivery) cost() int { return len(f.webhook.Body) + deliveryOverhead }

func (e *engine) enqueue(f *delivery, until time.Time) {
	f.due = until
	e.waitingBytes += f.cost()
	heap.Push(&e.waiting, f)
}

// send passes a delivery to a connection. One must be free.
func (e *engine) send(f *delivery) {
	switch {
	case f.acknowledged:
		f.duplicates++
		e.report.Requests.Duplicates++
	case f.attempts > 0:
		f.attempts++
		e.report.Requests.Retries++
	default:
		f.attempts++
		e.report.Requests.First++
		e.report.countStart(f)
		if f.heldBack {
			e.report.HeldBack++
		}
	}
	e.inFlight++
	e.jobs <- f
}

// handleAnswer determines the next step of a delivery by its answer.
func (e *engine) handleAnswer(a answer) {
	e.inFlight--
	e.report.countAnswer(&a)
	f, now, policy := a.delivery, time.Now(), &e.Connector.Delivery
	if f.acknowledged { // it was a duplicate: no vendor retries it
		if a.reason != cancelled && !policy.Succeeded(a.status) {
			e.report.DuplicatesFailed++
		}
		e.finish(f, Acknowledged)
		return
	}
	f.status = a.status
	switch {
	case a.reason == cancelled:
		e.finish(f, Unfinished)
	case policy.Succeeded(a.status):
		f.acknowledged = true
		if f.repeat {
			e.enqueue(f, now.Add(time.Duration(e.random.Float64()*float64(repeatWithin))))
			return
		}
		e.finish(f, Acknowledged)
	case f.kind != Unauthorized && policy.Again(a.status) && f.attempts <= len(policy.Retries):
		wait := float64(policy.Retries[f.attempts-1]) / e.TimeScale
		e.enqueue(f, now.Add(time.Duration(wait)))
	case refuses(a.status):
		e.finish(f, Refused)
	default:
		e.finish(f, Lost)
	}
}

// refuses reports whether a status means that a retry is useless.
func refuses(status int) bool {
	return status >= 400 && status <= 499 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// finishWaiting ends the deliveries that still wait.
func (e *engine) finishWaiting(now time.Time, interrupted bool) {
	for _, f := range e.waiting {
		switch {
		case f.acknowledged:
			e.finish(f, Acknowledged)
		case f.attempts > 0:
			e.finish(f, Unfinished)
		}
	}
	if e.ended.IsZero() {
		e.ended = now
	}
	e.report.close(e.ended.Sub(e.began), now.Sub(e.began), interrupted)
}

// finish records the outcome of a webhook. No more of its requests are sent.
func (e *engine) finish(f *delivery, o Outcome) {
	e.report.countEnd(f, o)
	if e.Record == nil || e.failed != nil {
		return
	}
	e.failed = e.Record(Record{
		Event: f.webhook.Event, Path: f.webhook.Path, Key: f.webhook.Key, Kind: f.kind, Outcome: o, Status: f.status,
		Attempts: f.attempts, Duplicates: f.duplicates, Body: f.webhook.Body,
	})
}
