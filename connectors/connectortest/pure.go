package connectortest

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/intake"
)

const (
	// again is how often a message is translated to see whether the result stays. What comes from an order of chance would
	// stay by chance every so often.
	again = 16
	// callers is how many translate at a time, and crowd how many webhooks of whatever event each is tried among.
	callers, crowd = 4, 24
)

// outcome is what a connector makes of a message.
type outcome struct {
	translation connectors.Translation
	fault       string
}

func (o outcome) is(other outcome) bool {
	return o.fault == other.fault && same(o.translation, other.translation)
}

// clone shares nothing with o.
func (o outcome) clone() outcome {
	events := slices.Clone(o.translation.Events)
	for i := range events {
		events[i] = proto.CloneOf(events[i])
	}
	o.translation.Events = events
	return o
}

// known is a message of which it is known what the connector makes.
type known struct {
	event   string
	message proto.Message
	text    []byte
	want    outcome
	// later is what it made of it in another year.
	later outcome
}

// outcome has the connector translate the message once more.
func (p *pipeline) outcome(m *known) outcome {
	t, fault := intake.Translate(p.config(), m.event, m.message, m.text)
	if fault != nil {
		return outcome{fault: fault.Error()}
	}
	return outcome{translation: t}
}

func checkPure(k *kit) error {
	messages := make(map[string]*known)
	for _, d := range k.documents {
		if r := k.run(d); r.message != nil {
			m := &known{event: r.event, message: r.message, text: r.text}
			m.want = k.outcome(m).clone()
			messages[d.name] = m
		}
	}
	// Only now: nothing of them may be in what is known.
	var strangers []*known
	for _, d := range k.documents {
		if s := k.stranger(d); s.message != nil {
			strangers = append(strangers, s)
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
		return cmp.Or(k.unchanging(m, k.run(d).message), k.undisturbed(m, strangers))
	})
	if err != nil {
		return err
	}
	// Of what is not pure, callers at the same time would only say so again, and race.
	disturbed := k.crowded(messages)
	return k.each(func(d document) error {
		if disturbed[d.name] {
			return errors.New("translated while others are, it gives a different result")
		}
		return nil
	})
}

// unchanging judges what the connector makes of a message, time after time. before is the message as it was decoded.
func (k *kit) unchanging(m *known, before proto.Message) error {
	if !proto.Equal(before, m.message) {
		return errors.New("the message is another after Translate")
	}
	for range again {
		if !k.outcome(m).is(m.want) {
			return errors.New("translating twice gives different results")
		}
	}
	return nil
}

// undisturbed judges what the connector makes of a message when it has translated others: all of the same event, and some of
// others; and what it made in another year.
func (k *kit) undisturbed(m *known, strangers []*known) error {
	first := k.outcome(m)
	for i, s := range strangers {
		if s.event != m.event && i >= crowd {
			continue
		}
		k.outcome(s)
		if !first.is(m.want) {
			return errors.New("what was made of it changes when another webhook is translated")
		}
		if !k.outcome(m).is(m.want) {
			return errors.New("translating another webhook in between gives a different result")
		}
	}
	if !m.later.is(m.want) {
		return errors.New("translating in another year gives a different result")
	}
	return nil
}

// crowded has all messages translated by several callers, each in an order of its own, and names those that suffer.
func (k *kit) crowded(messages map[string]*known) map[string]bool {
	var (
		mu        sync.Mutex
		disturbed = make(map[string]bool)
		wg        sync.WaitGroup
	)
	for range callers {
		wg.Go(func() {
			for name, m := range messages {
				if !k.outcome(m).is(m.want) {
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
