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
	// patience is how long a vendor waits for an answer that is not known to wait shorter.
	patience = 30 * time.Second
	// roomForWaiting bounds the memory of facts that wait, in bytes.
	roomForWaiting = 64 << 20
	// waitingCost is what a waiting fact takes besides its body.
	waitingCost = 1 << 10
	// leastDrain is how long open facts have at least after the last one has begun.
	leastDrain = 10 * time.Second
	// repeatWithin is how soon a duplicate comes after success.
	repeatWithin = time.Second
	// overtakers is how many facts overtake one that is held back, besides its later version, on average at most; holdAtLeast and
	// holdAtMost are how long it is held.
	overtakers  = 20
	holdAtLeast = 100 * time.Millisecond
	holdAtMost  = 2 * time.Second
)

// fact is a webhook on its way.
type fact struct {
	webhook Webhook
	kind    Kind
	target  *Target
	route
	// id is for headers that are signed and that nothing else fills.
	id string
	// repeat says that it is sent again after success, heldBack that a later version of its record went before it.
	repeat, heldBack bool
	// due is when it is sent next, while it waits.
	due time.Time
	// attempts and duplicates were sent; status is the latest answer's.
	attempts, duplicates int
	status               int
	acknowledged         bool
}

// waiting are facts by when they are due; see container/heap.
type waiting []*fact

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(*fact)) }
func (w *waiting) Pop() any {
	last := len(*w) - 1
	f := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return f
}

// engine runs a simulation. One goroutine owns it; others do no more than send requests.
type engine struct {
	Config
	vendor *Vendor
	random *rand.Rand // of its own: what is sent does not depend on answers
	routes map[routeKey]route
	report *Report

	jobs     chan *fact
	answers  chan answer
	inFlight int
	waiting  waiting
	held     int // bytes of what waits
	room     int // for it

	// arrival is when the next fact is to begin.
	arrival time.Time
	begun   int64
	// ended is when the last fact had begun; zero before.
	began, ended time.Time
	failed       error
}

type routeKey struct {
	target *Target
	event  string
}

func newEngine(c Config, v *Vendor) *engine {
	e := &engine{
		Config:  c,
		vendor:  v,
		random:  newRandom(c.Seed + 1),
		routes:  map[routeKey]route{},
		jobs:    make(chan *fact, c.Connections),
		answers: make(chan answer, c.Connections),
		room:    roomForWaiting,
	}
	if e.TimeScale == 0 {
		e.TimeScale = e.fittingScale()
	}
	e.report = newReport(&e.Config)
	return e
}

// fittingScale makes the longest wait as short as the run. It makes none longer.
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
		p.timeout = patience
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
	// What is under way is finished, or cut off if the run is.
	if ctx.Err() != nil || e.failed != nil {
		cancel()
	}
	for e.inFlight > 0 {
		e.settle(<-e.answers)
	}
	cancel()
	close(e.jobs)
	workers.Wait()
	e.leave(time.Now(), ctx.Err() != nil)
	return e.report, e.failed
}

// interval is the time between the beginnings of two facts: those of a Poisson process.
func (e *engine) interval() time.Duration {
	return time.Duration(e.random.ExpFloat64() / e.Rate * float64(time.Second))
}

// loop sends what is due, until all has ended or ctx is done.
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
			e.settle(a)
			for range len(e.answers) {
				e.settle(<-e.answers)
			}
		}
	}
}

// idle is how long to wait for answers when there is nothing else to wait for.
const idle = time.Second

// dispatch sends what is due while connections are free. It returns when to come back, if no answer comes before, and whether
// there is anything left to do.
func (e *engine) dispatch(now time.Time) (next time.Time, more bool) {
	for e.failed == nil {
		e.stopBeginning(now)
		f, due := e.first()
		switch {
		case due.IsZero():
			return e.wake(now.Add(idle)), e.ended.IsZero() || e.inFlight > 0
		case due.After(now):
			return e.wake(due), true
		case e.inFlight == e.Connections:
			return e.wake(now.Add(idle)), true
		case f == nil:
			e.begin(now)
		default:
			heap.Pop(&e.waiting)
			e.held -= f.cost()
			e.send(f)
		}
	}
	return now, true
}

// stopBeginning notices the end of the time in which facts begin, and those that should have begun and have not.
func (e *engine) stopBeginning(now time.Time) {
	if e.ended.IsZero() && (e.For > 0 && now.Sub(e.began) >= e.For || e.Count > 0 && e.begun >= e.Count) {
		e.ended = now
		e.late(now)
	}
}

// late notes by how much the next fact misses the schedule.
func (e *engine) late(now time.Time) {
	if e.Count == 0 || e.begun < e.Count {
		e.report.Behind = max(e.report.Behind, now.Sub(e.arrival).Seconds())
	}
}

// wake is the time, or that at which facts are to begin no longer, if that is before.
func (e *engine) wake(at time.Time) time.Time {
	if end := e.began.Add(e.For); e.ended.IsZero() && e.For > 0 && end.Before(at) {
		return end
	}
	return at
}

// first returns what is due first and when: a waiting fact, or nil for a new one. The time is zero if there is neither.
func (e *engine) first() (f *fact, due time.Time) {
	if e.ended.IsZero() {
		if e.held <= e.room {
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

// tooLate says that a request will not be sent: it is due after the time that the rest has when facts begin no longer.
func (e *engine) tooLate(due time.Time) bool {
	return !e.ended.IsZero() && due.Sub(e.ended) > max(e.ended.Sub(e.began), leastDrain)
}

// begin makes the next fact and sends it. If it is to overtake another, that is made, too, and held back.
func (e *engine) begin(now time.Time) {
	e.late(now)
	f := e.next()
	if hold := e.random.Float64()*100 < e.Disorder; !hold || f.kind != Sound || e.begun == e.Count {
		f.webhook = e.vendor.Next(f.kind == Broken, now)
		e.dress(f)
		e.send(f)
		return
	}
	held := e.next()
	held.kind, held.target, held.heldBack = Sound, &e.Target, true
	held.webhook, f.webhook = e.vendor.Versions(now)
	e.dress(f)
	e.dress(held)
	until := min(time.Duration(e.random.Float64()*overtakers/e.Rate*float64(time.Second)), holdAtMost)
	e.wait(held, now.Add(max(until, holdAtLeast)))
	e.send(f)
}

// next is the next fact of the schedule, without its webhook.
func (e *engine) next() *fact {
	e.arrival = e.arrival.Add(e.interval())
	e.begun++
	f := &fact{kind: Sound, target: &e.Target}
	switch kind := e.random.Float64() * 100; {
	case kind < e.Broken:
		f.kind = Broken
	case kind < e.Broken+e.WrongSecret:
		f.kind, f.target = Forged, e.Forged
	}
	f.repeat = e.random.Float64()*100 < e.Duplicates && f.kind != Forged
	return f
}

// dress gives a fact what it needs on its way besides its webhook.
func (e *engine) dress(f *fact) {
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

func (f *fact) cost() int { return len(f.webhook.Body) + waitingCost }

func (e *engine) wait(f *fact, until time.Time) {
	f.due = until
	e.held += f.cost()
	heap.Push(&e.waiting, f)
}

// send hands a fact to a connection, of which one is free.
func (e *engine) send(f *fact) {
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
		e.report.begin(f)
		if f.heldBack {
			e.report.HeldBack++
		}
	}
	e.inFlight++
	e.jobs <- f
}

// settle decides what an answer means for its fact.
func (e *engine) settle(a answer) {
	e.inFlight--
	e.report.count(&a)
	f, now, policy := a.fact, time.Now(), &e.Connector.Delivery
	if f.acknowledged { // it was a duplicate, which nobody tries again
		if a.why != cutOff && !policy.Succeeded(a.status) {
			e.report.DuplicatesFailed++
		}
		e.finish(f, Acknowledged)
		return
	}
	f.status = a.status
	switch {
	case a.why == cutOff:
		e.finish(f, Unfinished)
	case policy.Succeeded(a.status):
		f.acknowledged = true
		if f.repeat {
			e.wait(f, now.Add(time.Duration(e.random.Float64()*float64(repeatWithin))))
			return
		}
		e.finish(f, Acknowledged)
	case f.kind != Forged && policy.Again(a.status) && f.attempts <= len(policy.Retries):
		wait := float64(policy.Retries[f.attempts-1]) / e.TimeScale
		e.wait(f, now.Add(time.Duration(wait)))
	case refuses(a.status):
		e.finish(f, Refused)
	default:
		e.finish(f, Lost)
	}
}

// refuses says whether a status means that trying again is useless.
func refuses(status int) bool {
	return status >= 400 && status <= 499 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// leave ends the facts that still wait.
func (e *engine) leave(now time.Time, interrupted bool) {
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

// finish counts what became of a fact. Nothing more is sent of it.
func (e *engine) finish(f *fact, o Outcome) {
	e.report.end(f, o)
	if e.Record == nil || e.failed != nil {
		return
	}
	e.failed = e.Record(Record{
		Event: f.webhook.Event, Path: f.webhook.Path, Key: f.webhook.Key, Kind: f.kind, Outcome: o, Status: f.status,
		Attempts: f.attempts, Duplicates: f.duplicates, Body: f.webhook.Body,
	})
}
