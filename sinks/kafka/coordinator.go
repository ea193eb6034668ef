package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	// coordinateWithin limits the time in which a coordinator must become ready for a request: it may be moving to another
	// broker, or still be writing the end of the last transaction.
	coordinateWithin = 10 * time.Second
	// knowTopicWithin limits the time in which a coordinator must learn of a topic that was just created.
	knowTopicWithin = time.Second
	// endWithin limits the time in which a coordinator must say why it does not end a transaction.
	endWithin = time.Second

	leastCoordinatorWait    = time.Millisecond
	greatestCoordinatorWait = 100 * time.Millisecond
)

// coordinator is the broker that coordinates a transactional id or a group. kafka-go asks for it before each request; this type
// remembers it until a request fails.
type coordinator struct {
	cluster *cluster
	kind    kafkago.CoordinatorKeyType
	name    string

	broker int
	known  bool
}

// ask sends a request to the coordinator.
func (c *coordinator) ask(ctx context.Context, request protocol.Message) (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cluster.client.Timeout)
	defer cancel()
	if !c.known {
		answer, err := c.cluster.client.FindCoordinator(ctx, &kafkago.FindCoordinatorRequest{Key: c.name, KeyType: c.kind})
		if err == nil {
			err = answer.Error
		}
		if err != nil {
			return nil, err
		}
		c.broker, c.known = answer.Coordinator.NodeID, true
	}
	answer, err := c.cluster.transport.RoundTrip(ctx, c.cluster.client.Addr, &atBroker{Message: request, id: c.broker, client: c.cluster.transport.ClientID})
	if err != nil {
		c.known = false
	}
	return answer, err
}

// await calls do until its error is not about the coordinator's own state, or until ctx is done. The dispatcher repeats what fails
// for other reasons.
func (c *coordinator) await(ctx context.Context, do func() error) error {
	return await(ctx, func() error {
		err := do()
		if errors.Is(err, kafkago.NotCoordinatorForGroup) || errors.Is(err, kafkago.GroupCoordinatorNotAvailable) {
			c.known = false
		}
		return err
	})
}

func await(ctx context.Context, do func() error) error {
	began := time.Now()
	for wait := leastCoordinatorWait; ; wait = min(2*wait, greatestCoordinatorWait) {
		err := do()
		if err == nil || !isAwaited(err, time.Since(began)) || !pause(ctx, wait) {
			return err
		}
	}
}

// isAwaited reports whether the error passes by itself, soon.
func isAwaited(err error, passed time.Duration) bool {
	if errors.Is(err, kafkago.UnknownTopicOrPartition) {
		return passed < knowTopicWithin
	}
	return passed < coordinateWithin && slices.ContainsFunc([]kafkago.Error{
		kafkago.ConcurrentTransactions,
		kafkago.GroupCoordinatorNotAvailable,
		kafkago.NotCoordinatorForGroup,
		kafkago.GroupLoadInProgress,
		kafkago.UnstableOffsetCommit,
		kafkago.LeaderNotAvailable,
		// A partition's leader cannot ask the coordinator whether the partition is in the transaction.
		kafkago.NotEnoughReplicas,
	}, func(code kafkago.Error) bool { return errors.Is(err, code) })
}

// pause waits. It returns false if ctx was done first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// exchanger is a message that kafka-go cannot encode.
type exchanger interface {
	exchange(rw io.ReadWriter, client string) (protocol.Message, error)
}

// atBroker is a request to a certain broker. It bypasses kafka-go's choice of the broker, which is part of the message's type.
type atBroker struct {
	protocol.Message

	id      int
	client  string
	version int16
	known   bool // The broker has the request.
}

var (
	_ protocol.BrokerMessage = (*atBroker)(nil)
	_ protocol.RawExchanger  = (*atBroker)(nil)
)

// Broker implements [protocol.BrokerMessage].
func (a *atBroker) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: int32(a.id)}, nil
}

// Required implements [protocol.RawExchanger].
func (a *atBroker) Required(versions map[protocol.ApiKey]int16) bool {
	a.version, a.known = versions[a.ApiKey()]
	return true
}

// RawExchange implements [protocol.RawExchanger].
func (a *atBroker) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if !a.known {
		return nil, fmt.Errorf("%w: the broker does not know the request %d", kafkago.UnsupportedVersion, a.ApiKey())
	}
	if own, ok := a.Message.(exchanger); ok {
		return own.exchange(rw, a.client)
	}
	// A connection has one request at a time, so the correlation id does not matter.
	return protocol.RoundTrip(rw, a.version, 1, a.client, a.Message)
}
