package subscribetest

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups/groupstest"
)

// pullers is a worker that pulls at any server, and acknowledges at any. It cancels some calls, and loses some answers.
func (g *group) pullers(ctx context.Context) {
	d := g.driver
	for !d.isDone() {
		p := d.anyProcess(ctx)
		if p == nil {
			return
		}
		if got := g.pull(p); len(got) > 0 && (d.isCalm() || d.intN(5) > 0) {
			if d.intN(3) == 0 {
				d.sleep(g.Policy.AckDeadline)
			}
			g.acknowledge(ctx, got)
		}
		d.sleep(500 * time.Millisecond)
	}
}

// pull calls Pull, and returns the ids of the deliveries.
func (g *group) pull(p *process) (ids []string) {
	d := g.driver
	patience := 30 * time.Second
	if d.intN(10) == 0 && !d.isCalm() {
		patience = time.Duration(d.intN(1000)) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(p.alive, patience)
	defer cancel()
	r := &streamv1.PullRequest{
		Group: g.name, Policy: message(g.Policy), MaxEvents: uint32(1 + d.intN(5)),
		Wait: durationpb.New(time.Duration(d.intN(2)) * time.Second),
	}
	response, err := p.Pull(ctx, r)
	if p.alive.Err() != nil {
		return nil // The answer does not get through.
	}
	if err != nil {
		g.unary("pull", err)
		return nil
	}
	received := &streamv1.PullResponse{}
	if err := recode(response, received); err != nil {
		g.history.Breach("pull: %v", err)
	}
	if got := len(received.GetDeliveries()); got > int(r.GetMaxEvents()) {
		g.history.Breach("%d events were pulled, and %d asked for", got, r.GetMaxEvents())
	}
	for _, got := range received.GetDeliveries() {
		g.sent(g.pulls(p), got)
		ids = append(ids, got.GetId())
	}
	return ids
}

// unary checks the error of a call.
func (g *group) unary(what string, err error) {
	if status.Code(err) != codes.OutOfRange {
		g.ended(what, err)
		return
	}
	g.expired(what, err)
}

// acknowledge calls Acknowledge for deliveries of pulls.
func (g *group) acknowledge(ctx context.Context, ids []string) {
	d := g.driver
	p := d.anyProcess(ctx)
	if p == nil {
		return
	}
	r, a := &streamv1.AcknowledgeRequest{Group: g.name}, answering{action: groupstest.Ack, ids: ids}
	if !d.isCalm() && d.intN(4) == 0 {
		a = d.nack(ids)
		r.Nacks = []*streamv1.Nack{a.request.GetNack()}
	} else {
		r.Ids = ids
	}
	sent := g.history.Answering(a.action, a.delay, ids...)
	calling, cancel := context.WithTimeout(p.alive, 20*time.Second)
	defer cancel()
	response, err := p.Acknowledge(calling, r)
	switch {
	case p.alive.Err() != nil:
	case err != nil:
		g.unary("acknowledge", err)
	default:
		sent.Result(int(response.GetResult().GetAccepted()), response.GetResult().GetStale())
	}
}
