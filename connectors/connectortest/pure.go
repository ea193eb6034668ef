package connectortest

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

const (
	// repetitions is how often a message is translated to compare the results. A random order would be the same by chance now and
	// then.
	repetitions = 16
	// callers is how many goroutines translate at the same time.
	callers = 4
	// otherEvents is how many messages of other events are translated between two translations of a message.
	otherEvents = 24
)

// outcome is the result of one call of Translate.
type outcome struct {
	translation connectors.Translation
	fault       string
}

func (o outcome) equal(other outcome) bool {
	return o.fault == other.fault && same(o.translation, other.translation)
}

// clone returns an outcome that shares no memory with o.
func (o outcome) clone() outcome {
	events := slices.Clone(o.translation.Events)
	for i := range events {
		events[i] = proto.CloneOf(events[i])
	}
	o.translation.Events = events
	return o
}

// message is a decoded message with the outcome of its first translation.
type message struct {
	event   string
	message proto.Message
	text    []byte
	want    outcome
	// later is the outcome in another year.
	later outcome
}

// outcome translates the message once more.
func (p *pipeline) outcome(m *message) outcome {
	r := p.reader.Read(&intake.Delivery{
		Event: m.event, Message: m.message, Body: m.text, Encoding: journalv1.Encoding_ENCODING_JSON,
	})
	if r.Fault != nil {
		return outcome{fault: r.Fault.Error()}
	}
	return outcome{translation: r.Translation}
}

func checkPure(k *kit) error {
	messages := make(map[string]*message)
	for _, d := range k.documents {
		if r := k.run(d); r.message != nil {
			m := &message{event: r.event, message: r.message, text: r.text}
			m.want = k.outcome(m).clone()
			messages[d.name] = m
		}
	}
	// The connector must not see them before the first outcomes are known.
	var others []*message
	for _, d := range k.documents {
		if other := k.different(d); other.message != nil {
			others = append(others, other)
		}
	}
	k.inAnotherYear(func() {
		for _, m := range messages {
			m.later = k.outcome(m).clone()
		}
	})
	err := k.each(func(d document) error {
		m, ok := messages[d.name]
		if !ok {
			return nil
		}
		return cmp.Or(k.checkRepeatable(m, k.run(d).message), k.checkIndependent(m, others))
	})
	if err != nil {
		return err
	}
	// Only now: an impure connector would race.
	disturbed := k.translateConcurrently(messages)
	return k.each(func(d document) error {
		if disturbed[d.name] {
			return errors.New("translated concurrently with others, the result differs")
		}
		return nil
	})
}

// checkRepeatable checks that Translate does not change the message and always gives the same. before is the message as it was
// decoded.
func (k *kit) checkRepeatable(m *message, before proto.Message) error {
	if !proto.Equal(before, m.message) {
		return errors.New("the message is changed by Translate")
	}
	for range repetitions {
		if !k.outcome(m).equal(m.want) {
			return errors.New("translating twice gives different results")
		}
	}
	return nil
}

// checkIndependent checks that the outcome does not depend on the translations before it, which are of the same event and of some
// others, nor on the year.
func (k *kit) checkIndependent(m *message, others []*message) error {
	first := k.outcome(m)
	for i, other := range others {
		if other.event != m.event && i >= otherEvents {
			continue
		}
		k.outcome(other)
		if !first.equal(m.want) {
			return errors.New("its events change when another webhook is translated")
		}
		if !k.outcome(m).equal(m.want) {
			return errors.New("translating another webhook in between gives a different result")
		}
	}
	if !m.later.equal(m.want) {
		return errors.New("translating in another year gives a different result")
	}
	return nil
}

// translateConcurrently has several goroutines translate all messages, each in another order. It returns the names of the messages
// whose outcome differs.
func (k *kit) translateConcurrently(messages map[string]*message) map[string]bool {
	var (
		mu        sync.Mutex
		disturbed = make(map[string]bool)
		wg        sync.WaitGroup
	)
	for range callers {
		wg.Go(func() {
			for name, m := range messages {
				if !k.outcome(m).equal(m.want) {
					mu.Lock()
					disturbed[name] = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return disturbed
}
