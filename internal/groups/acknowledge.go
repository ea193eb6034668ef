package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Acknowledge tells what became of deliveries of a group, wherever they were made, and returns when that is durable. Errors: [ErrNotFound]; [ErrID] for an id
// that is malformed or belongs to another group, then nothing was answered; journal.ErrUnavailable, sinks.ErrClosed, ctx's, then a part may have been.
func (m *Manager) Acknowledge(ctx context.Context, name string, answers []Answer) (Result, error) {
	var local *group
	if r := m.local(); r != nil {
		local = r.group(name)
	}
	ids := make([][]deliveryID, len(answers))
	for i, a := range answers {
		a.UpTo = ""
		var err error
		if ids[i], err = (&group{name: name}).parse(a); err != nil {
			return Result{}, err
		}
	}
	receipt := &Receipt{done: make(chan struct{}), left: 1}
	var far []farAnswer
	if local != nil {
		local.mu.Lock()
	}
	for i, a := range answers {
		for k, id := range ids[i] {
			if local != nil && local.shares[id.share] != nil && local.shares[id.share].epoch == id.epoch {
				local.answer(receipt, a, a.IDs[k], local.outstanding(id))
				continue
			}
			far = append(far, farAnswer{deliveryID: id, text: a.IDs[k], answer: a})
		}
	}
	receipt.end(1)
	if local != nil {
		local.mu.Unlock()
	}
	result, err := m.answerFar(ctx, name, far, local == nil)
	if err != nil {
		if errors.Is(err, journal.ErrNotFound) {
			return Result{}, ErrNotFound
		}
		return Result{}, fmt.Errorf("groups: acknowledge: %w", err)
	}
	near, err := receipt.Wait(ctx)
	result.Accepted += near.Accepted
	result.Stale = append(result.Stale, near.Stale...)
	return result, err
}

// farAnswer answers a delivery of a share that this instance does not own.
type farAnswer struct {
	deliveryID
	text   string
	answer Answer
}

// answerFar answers by writing the stored shares. An owner finds out when it writes, or reads again before an event is delivered a second time.
func (m *Manager) answerFar(ctx context.Context, name string, far []farAnswer, check bool) (result Result, err error) {
	if len(far) == 0 && !check {
		return result, nil
	}
	stored, err := m.cfg.Groups.Group(ctx, name)
	if err != nil {
		return result, err
	}
	def, err := decodeDefinition(stored.Definition)
	if err != nil {
		return result, err
	}
	f := &farWrite{manager: m, name: name, policy: def.policy, left: map[int][]farAnswer{}}
	for _, a := range far {
		f.left[int(a.share)] = append(f.left[int(a.share)], a)
	}
	for tries := 0; len(f.left) > 0; tries++ {
		if tries == maxTries {
			return f.result, journal.ErrUnavailable
		}
		if err := f.write(ctx); err != nil {
			return f.result, err
		}
	}
	return f.result, nil
}

// farWrite writes answers into shares of other instances.
type farWrite struct {
	manager *Manager
	name    string
	policy  Policy
	left    map[int][]farAnswer // By share.
	result  Result
}

// write tries to write all that is left.
func (f *farWrite) write(ctx context.Context) error {
	indexes := make([]int, 0, len(f.left))
	for i := range journal.GroupShares {
		if f.left[i] != nil {
			indexes = append(indexes, i)
		}
	}
	shares, err := f.manager.cfg.Groups.Shares(ctx, f.name, indexes)
	if err != nil {
		return err
	}
	var changes []journal.ShareChange
	results := map[int]Result{}
	for _, s := range shares {
		change, result, err := f.change(ctx, s)
		if err != nil {
			return err
		}
		if result.Accepted == 0 {
			f.done(s.Index, result)
			continue
		}
		results[s.Index] = result
		changes = append(changes, change)
	}
	if len(changes) == 0 {
		return nil
	}
	saved, err := f.manager.cfg.Groups.SaveShares(ctx, f.name, changes)
	if err != nil {
		return err
	}
	for i, c := range changes {
		if saved[i] {
			f.done(c.Index, results[c.Index])
		}
	}
	return nil
}

func (f *farWrite) done(index int, r Result) {
	f.result.Accepted += r.Accepted
	f.result.Stale = append(f.result.Stale, r.Stale...)
	delete(f.left, index)
}

// change makes the write of a share.
func (f *farWrite) change(ctx context.Context, s journal.Share) (journal.ShareChange, Result, error) {
	change := journal.ShareChange{Index: s.Index, Epoch: s.Epoch, Version: s.Version}
	var result Result
	next, err := decodeState(s.State)
	if err != nil {
		return change, result, err
	}
	for _, a := range f.left[s.Index] {
		ok := a.epoch == s.Epoch
		if ok {
			ok, err = f.sameEvent(ctx, a)
		}
		if ok && err == nil {
			ok, err = f.apply(ctx, &change, next, a)
		}
		if err != nil {
			return change, result, err
		}
		if ok {
			result.Accepted++
		} else {
			result.Stale = append(result.Stale, a.text)
		}
	}
	change.State, err = next.encode()
	return change, result, err
}

// sameEvent reports whether the log still has the event that was delivered. After a restore from an older backup, its position may have another one.
func (f *farWrite) sameEvent(ctx context.Context, a farAnswer) (bool, error) {
	log := f.manager.cfg.Log
	if a.position >= log.Bounds().Next {
		// This instance may not know of the event yet.
		err := log.Resolve(ctx, sinks.Mark{Position: a.position + 1})
		if errors.Is(err, sinks.ErrFuture) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return saltOf(log, a.position) == a.salt, nil
}

// apply applies an answer to a state, and reports whether it holds.
func (f *farWrite) apply(ctx context.Context, change *journal.ShareChange, next *state, a farAnswer) (bool, error) {
	cfg := f.manager.cfg
	now := cfg.Now()
	o := op{kind: opAck, attempt: a.attempt}
	switch a.answer.Action {
	case Ack:
	case Skip:
		o.kind = opSkip
	case Park:
		o.kind, o.reason = opPark, cutReason(a.answer.Reason)
	case Retry:
		o = failOp(f.policy, now, a.attempt, cutReason(a.answer.Reason), a.answer.Delay)
	}
	o.position, o.round, o.first = a.position, a.round, now
	if known := next.failed[a.position].first; a.round == 0 && !known.IsZero() {
		o.first = known
	} else if known := next.replays[a.position].first; a.round != 0 && !known.IsZero() {
		o.first = known
	}
	if a.attempt == 0 || !next.clone().apply(o) {
		return false, nil
	}
	if a.round != 0 {
		return true, f.applyReplay(ctx, change, next, o)
	}
	if o.kind == opPark {
		record, err := readOne(ctx, cfg.Log, o.position)
		switch {
		case errors.Is(err, sinks.ErrExpired), errors.Is(err, sinks.ErrDamaged):
			o.kind, o.attempt = opMiss, 0
		case err != nil:
			return false, err
		default:
			change.Park = append(change.Park, parkedEvent(f.name, o, now, record.Encoded, a.attempt))
		}
	}
	next.apply(o)
	return true, nil
}

// applyReplay applies an answer to a replay that holds.
func (f *farWrite) applyReplay(ctx context.Context, change *journal.ShareChange, next *state, o op) error {
	cfg := f.manager.cfg
	parked, err := readParked(ctx, cfg.Letters, f.name, o.position)
	if err != nil {
		return err
	}
	switch {
	case o.kind == opFail:
	case parked == nil:
		o.kind = opDrop // It was discarded.
	case o.kind == opPark:
		change.Attempted = append(change.Attempted, parkedEvent(f.name, o, cfg.Now(), parked.GetEvent(), o.attempt))
	default:
		change.Unpark = append(change.Unpark, o.position)
	}
	next.apply(o)
	subject, ordered, err := subjectHash(0), false, error(nil)
	if parked != nil {
		subject, ordered, err = subjectOfParked(parked)
	}
	if len(change.Unpark) > 0 && ordered && err == nil && f.policy.StrictOrder {
		return requestNext(ctx, cfg.Letters, f.name, subject, o.position)
	}
	return nil
}
