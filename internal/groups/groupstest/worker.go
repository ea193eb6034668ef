package groupstest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/webhook-bridge/bridge/internal/groups"
)

// worker is members one after the other.
func (d *driver) worker(ctx context.Context) {
	for !d.isDone() {
		node := d.intN(len(d.cluster.Nodes))
		name := d.name(node, "member")
		joining, cancel := context.WithTimeout(ctx, 30*time.Second)
		m, err := d.cluster.Nodes[node].Manager().Join(joining, d.request())
		cancel()
		if err != nil {
			d.unexpected("join", err)
			d.sleep(time.Second)
			continue
		}
		d.serve(ctx, node, name, m)
		d.Leaving(name)
		leaving, cancel := context.WithTimeout(ctx, time.Second)
		_ = m.Leave(leaving)
		cancel()
	}
}

// serve is the life of one member.
func (d *driver) serve(ctx context.Context, node int, name string, m *groups.Member) {
	var open opened
	spins, since := 0, time.Now()
	for !d.isDone() {
		waiting, cancel := context.WithTimeout(ctx, time.Duration(d.intN(2000)+1)*time.Millisecond)
		b, err := m.Next(waiting, groups.Budget{Events: 1 + d.intN(8), Bytes: int64(d.intN(3) * 500)})
		ended := err != nil && waiting.Err() == nil
		cancel()
		if spins++; spins > 1000 && time.Since(since) == 0 {
			panic(fmt.Sprintf("%+v, %v, %v, %+v", b, err, waiting.Err(), m.Status()))
		} else if time.Since(since) > 0 {
			spins, since = 0, time.Now()
		}
		if ended {
			d.unexpected("next", err)
			return
		}
		d.receive(name, b.Deliveries)
		for _, got := range b.Deliveries {
			open.ids = append(open.ids, got.ID)
		}
		d.reply(ctx, m, &open)
		if !d.isSuspect(node, name) {
			d.Position(name, m.Status().Position)
		}
		if d.isCalm() {
			continue
		}
		switch d.intN(40) {
		case 0:
			return
		case 1:
			d.sleep(10 * time.Second) // A slow one.
		}
	}
}

func (d *driver) receive(name string, deliveries []groups.Delivery) {
	for _, got := range deliveries {
		d.Delivered(name, Delivery{ID: got.ID, Position: got.Record.Position, Attempt: got.Attempt, Replayed: got.Replayed})
	}
}

// opened are deliveries that a member has not answered, in their order, and those that it will not answer.
type opened struct{ ids, silent []string }

// reply answers some of what is open.
func (d *driver) reply(ctx context.Context, m *groups.Member, open *opened) {
	if len(open.ids) == 0 {
		return
	}
	n := 1 + d.intN(len(open.ids))
	first, last := open.ids[:n], open.ids[len(open.ids)-n:]
	kind := d.intN(10)
	if d.isCalm() {
		kind = 9
		first = open.ids
	}
	switch kind {
	case 0: // Later.
	case 1: // Never.
		open.ids, open.silent = nil, append(open.silent, open.ids...)
	case 2, 3:
		open.ids = open.ids[:len(open.ids)-n]
		action, a := d.negative(last)
		d.send(ctx, m, action, a, last)
	case 4, 5:
		ids := slices.Concat(open.silent, first)
		open.ids, open.silent = open.ids[n:], nil
		d.send(ctx, m, Ack, groups.Answer{UpTo: first[n-1]}, ids)
	default:
		open.ids = open.ids[len(first):]
		d.send(ctx, m, Ack, groups.Answer{IDs: first}, first)
	}
}

// send answers deliveries and records the result.
func (d *driver) send(ctx context.Context, m *groups.Member, action Action, a groups.Answer, ids []string) {
	sent := d.Answering(action, a.Delay, ids...)
	receipt, err := m.Answer(a)
	if err != nil {
		d.unexpected("answer", err)
		return
	}
	wait := func() {
		waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		res, err := receipt.Wait(waiting)
		switch {
		case err != nil:
		case a.UpTo != "":
			sent.ResultUpTo(res.Accepted)
		default:
			sent.Result(res.Accepted, res.Stale)
		}
	}
	if d.intN(2) == 0 {
		d.work.Go(wait) // Pipelined.
	} else {
		wait()
	}
}

// negative makes a negative acknowledgement.
func (d *driver) negative(ids []string) (Action, groups.Answer) {
	a := groups.Answer{IDs: ids, Reason: "the test says so"}
	switch d.intN(4) {
	case 0:
		a.Action = groups.Park
		return Park, a
	case 1:
		a.Action = groups.Skip
		return Skip, a
	case 2:
		delay := time.Duration(d.intN(3000)) * time.Millisecond
		a.Delay = &delay
	}
	a.Action = groups.Retry
	return Retry, a
}

// puller pulls at one node, and acknowledges at any. A pull's member is that of its node, so all its pulls have one name until the node is suspect.
func (d *driver) puller(ctx context.Context) {
	node := d.intN(len(d.cluster.Nodes))
	name := ""
	for !d.isDone() {
		if name == "" || d.isSuspect(node, name) {
			name = d.name(node, "pull")
		}
		waiting, cancel := context.WithTimeout(ctx, 30*time.Second)
		got, _, err := d.cluster.Nodes[node].Manager().Pull(waiting, d.request(), groups.Budget{Events: 1 + d.intN(5)}, time.Duration(d.intN(2))*time.Second)
		cancel()
		d.unexpected("pull", err)
		d.receive(name, got)
		if len(got) > 0 && (d.isCalm() || d.intN(5) > 0) {
			d.acknowledge(ctx, got)
		}
		d.sleep(500 * time.Millisecond)
	}
}

func (d *driver) acknowledge(ctx context.Context, got []groups.Delivery) {
	var ids []string
	for _, g := range got {
		ids = append(ids, g.ID)
	}
	action, a := Ack, groups.Answer{IDs: ids}
	if !d.isCalm() && d.intN(5) == 0 {
		action, a = d.negative(ids)
	}
	sent := d.Answering(action, a.Delay, ids...)
	waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := d.cluster.Nodes[d.intN(len(d.cluster.Nodes))].Manager().Acknowledge(waiting, Group, []groups.Answer{a})
	if err != nil {
		d.unexpected("acknowledge", err)
		return
	}
	sent.Result(res.Accepted, res.Stale)
}
