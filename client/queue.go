package client

import (
	"slices"
	"sync"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// item is an event to handle, or, without a group, a token that resumes behind all that was handled.
type item struct {
	delivery *streamv1.Delivery
	token    string
	// ids are those of the event's deliveries to the group: it comes again when its deadline passes while it is here.
	ids []string
}

// name is the id of an event, or its subject, in a source.
type name struct{ source, text string }

// queue has the items that wait for a handler. The credit bounds the events in it; of several tokens that follow one another it has the last.
type queue struct {
	mu     sync.Mutex
	filled *sync.Cond
	items  []*item
	// here has the events of a group that wait or are being handled, by their ids. busy has the subjects that are being handled.
	here   map[name]*item
	busy   map[name]bool
	closed bool
	// ended is closed with the queue.
	ended chan struct{}
}

func newQueue() *queue {
	q := &queue{here: map[name]*item{}, busy: map[name]bool{}, ended: make(chan struct{})}
	q.filled = sync.NewCond(&q.mu)
	return q
}

// add adds an item. An event that is here is not added once more: it only gets the other id.
func (q *queue) add(i *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if id := i.delivery.GetId(); id != "" {
		event := name{i.delivery.GetEvent().GetSource(), i.delivery.GetEvent().GetId()}
		if known := q.here[event]; known != nil {
			known.ids = append(known.ids, id)
			return
		}
		q.here[event], i.ids = i, []string{id}
	}
	if last := len(q.items) - 1; i.delivery == nil && last >= 0 && q.items[last].delivery == nil {
		q.items[last] = i
		return
	}
	q.items = append(q.items, i)
	q.filled.Signal()
}

// next waits for an item. It returns false when the queue is closed. last says that no other item waits. An event of a group must be given
// to finish; until then, no other one of its subject is returned.
func (q *queue) next() (i *item, last, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.free()
	for ; at < 0 && !q.closed; at = q.free() {
		q.filled.Wait()
	}
	if q.closed {
		return nil, true, false
	}
	i = q.items[at]
	if at == 0 {
		q.items[0] = nil
		q.items = q.items[1:]
	} else {
		q.items = slices.Delete(q.items, at, at+1)
	}
	if subject, has := subjectOf(i); has {
		q.busy[subject] = true
	}
	return i, len(q.items) == 0, true
}

// free returns the index of the first item whose subject is not busy, or -1.
func (q *queue) free() int {
	return slices.IndexFunc(q.items, func(i *item) bool {
		subject, has := subjectOf(i)
		return !has || !q.busy[subject]
	})
}

// finish ends the handling of an event of a group, and returns the ids of its deliveries so far.
func (q *queue) finish(i *item) (ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.here, name{i.delivery.GetEvent().GetSource(), i.delivery.GetEvent().GetId()})
	if subject, has := subjectOf(i); has {
		delete(q.busy, subject)
		q.filled.Broadcast()
	}
	return i.ids
}

// subjectOf returns the subject that an event of a group has.
func subjectOf(i *item) (subject name, has bool) {
	e := i.delivery.GetEvent()
	return name{e.GetSource(), e.GetSubject()}, i.delivery.GetId() != "" && e.GetSubject() != ""
}

// close ends the queue. What waits is dropped.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		close(q.ended)
	}
	q.closed, q.items = true, nil
	q.filled.Broadcast()
}

// maxIDs bounds the acknowledgements in one message.
const maxIDs = 1000

// sent is an acknowledgement without an answer.
type sent struct {
	n       int
	handled bool
}

// outbox collects acknowledgements and credit while the message before is being sent.
type outbox struct {
	mu      sync.Mutex
	changed *sync.Cond
	first   *streamv1.SubscribeRequest
	acks    []string
	nacks   []*streamv1.Nack
	credit  uint32
	// unanswered are the acknowledgements that were sent, the oldest first.
	unanswered []sent
	closed     bool
}

func newOutbox() *outbox {
	o := &outbox{}
	o.changed = sync.NewCond(&o.mu)
	return o
}

func (o *outbox) start(m *streamv1.SubscribeStart) {
	o.change(func() { o.first = &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: m}} })
}

func (o *outbox) ack(ids []string) {
	o.change(func() { o.acks = append(o.acks, ids...); o.credit += uint32(len(ids)) })
}

func (o *outbox) nack(n *streamv1.Nack) {
	o.change(func() { o.nacks = append(o.nacks, n); o.credit += uint32(len(n.GetIds())) })
}

func (o *outbox) addCredit() { o.change(func() { o.credit++ }) }

func (o *outbox) close() { o.change(func() { o.closed = true }) }

func (o *outbox) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	o.changed.Broadcast()
}

// next waits for the next message to send. It returns nil when the outbox is closed.
func (o *outbox) next() *streamv1.SubscribeRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		switch {
		case o.closed:
			return nil
		case o.first != nil:
			m := o.first
			o.first = nil
			return m
		case len(o.acks) > 0:
			n := min(len(o.acks), maxIDs)
			ids := o.acks[:n:n]
			o.acks = o.acks[n:]
			o.unanswered = append(o.unanswered, sent{n, true})
			return &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Ack{Ack: &streamv1.Ack{
				Which: &streamv1.Ack_Ids{Ids: &streamv1.DeliveryIds{Ids: ids}},
			}}}
		case len(o.nacks) > 0:
			m := o.nacks[0]
			o.nacks = o.nacks[1:]
			o.unanswered = append(o.unanswered, sent{len(m.GetIds()), false})
			return &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Nack{Nack: m}}
		case o.credit > 0:
			m := &streamv1.Credit{Events: o.credit}
			o.credit = 0
			return &streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Credit{Credit: m}}
		}
		o.changed.Wait()
	}
}

// answered takes the oldest acknowledgement without an answer. It returns false if there is none.
func (o *outbox) answered() (handled bool, n int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.unanswered) == 0 {
		return false, 0, false
	}
	oldest := o.unanswered[0]
	o.unanswered = o.unanswered[1:]
	o.changed.Broadcast()
	return oldest.handled, oldest.n, true
}

// drained waits until everything was sent and answered, or the outbox is closed.
func (o *outbox) drained() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && (o.first != nil || len(o.acks) > 0 || len(o.nacks) > 0 || len(o.unanswered) > 0) {
		o.changed.Wait()
	}
}
