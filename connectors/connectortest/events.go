package connectortest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// checkResult returns an error unless the result is valid events or a fault of the webhook.
func checkResult(r result) error {
	if r.broken() {
		return r.fault
	}
	for _, e := range r.translation.Events {
		if err := checkEvent(e); err != nil {
			return err
		}
	}
	return checkDrift(r.translation)
}

// checkEvent checks a connector's event by the rules of its schema, with the fields that Bridge sets.
func checkEvent(e *eventv1.Event) error {
	if err := checkAcceptable(e); err != nil {
		return err
	}
	filled := &eventv1.Event{
		Id: anyUUID, Source: "source", Connector: "connector", VendorEvent: "event", WebhookId: anyUUID,
		ReceivedAt: timestamppb.New(time.Unix(0, 0)),
		Type:       e.GetType(), Subject: e.GetSubject(), SubjectVersion: e.GetSubjectVersion(), OccurredAt: e.GetOccurredAt(),
		Data: e.GetData(),
	}
	return errors.Join(protovalidate.Validate(filled), checkMessage(e.ProtoReflect()))
}

const anyUUID = "01890a5d-ac96-774b-bcce-b302099a8057"

// checkMessage checks what the rules of the schema cannot say, in a message and all messages within it: that a time is valid, and
// that money has a currency even if the amount is zero.
func checkMessage(m protoreflect.Message) (err error) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				err = errors.Join(err, checkField(fd, v.List().Get(i).Message()))
			}
		default:
			err = checkField(fd, v.Message())
		}
		return err == nil
	})
	return err
}

func checkField(fd protoreflect.FieldDescriptor, m protoreflect.Message) error {
	switch m := m.Interface().(type) {
	case *timestamppb.Timestamp:
		if err := m.CheckValid(); err != nil {
			return fmt.Errorf("%s: %w", fd.FullName(), err)
		}
	case *money.Money:
		if m.GetCurrencyCode() == "" {
			return fmt.Errorf("%s: money without a currency", fd.FullName())
		}
	}
	return checkMessage(m)
}

// checkAcceptable checks what Bridge needs of a connector's event and intake does not check. It is fast enough for [Fuzz].
func checkAcceptable(e *eventv1.Event) error {
	switch {
	case e.GetData() == nil:
		return fmt.Errorf("type %q without data", e.GetType())
	case e.GetId() != "" || e.GetSource() != "" || e.GetConnector() != "" || e.GetVendorEvent() != "" || e.GetReceivedAt() != nil ||
		e.GetWebhookId() != "" || e.GetSupersedes() != "":
		return errors.New("a field that Bridge sets is set already")
	}
	return nil
}

func checkIdentity(k *kit) error {
	// By event and natural key.
	known := make(map[string]identity)
	return k.each(func(d document) error {
		for _, this := range identitiesOf(k.run(d), d.name) {
			if other, ok := known[this.key]; ok && other.about != this.about {
				return fmt.Errorf("the same key as %s, which is about %s, not %s", other.name, other.about, this.about)
			}
			known[this.key] = this
			check := k.checkChanges
			switch {
			case this.natural == d.key:
				continue // the key does not depend on the body
			case this.natural.Own():
				check = k.checkOwnID
			}
			if err := check(d, this); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkChanges checks that a key is about one version of one subject, and that some change of the same subject has another key.
func (k *kit) checkChanges(d document, this identity) error {
	differs := !this.change
	err := k.alter(d, func(r result) error {
		others := identitiesOf(r, "")
		if len(others) == 0 {
			return nil
		}
		same := slices.ContainsFunc(others, this.sameKey)
		if about := others[0].about; same && about != this.about {
			return fmt.Errorf("changed, it has the same key, though it is about %s, not %s", about, this.about)
		}
		differs = differs || !same && others[0].subjects == this.subjects
		return nil
	})
	if err == nil && !differs {
		err = fmt.Errorf("all changes of %s have the same key", this.subjects)
	}
	return err
}

// checkOwnID checks that the vendor's id of the occurrence is in the body: some change of the body changes the key but not the
// subjects.
func (k *kit) checkOwnID(d document, this identity) error {
	differs := false
	err := k.alter(d, func(r result) error {
		others := identitiesOf(r, "")
		differs = differs || len(others) > 0 && !slices.ContainsFunc(others, this.sameKey) && others[0].about == this.about
		return nil
	})
	if err == nil && !differs {
		err = fmt.Errorf("only its subject, %s, changes the key: it has no id of its own", this.about)
	}
	return err
}

// identity is one of a webhook's natural keys, and its subjects.
type identity struct {
	natural connectors.Key
	// key is the natural key's text, scoped by the event.
	key, about, name string
	// subjects has the subjects without versions, about with them.
	subjects string
	// change says that the event may happen to the same subject again.
	change bool
}

func (id identity) sameKey(other identity) bool { return id.key == other.key }

// identitiesOf returns an identity for each natural key of a result.
func identitiesOf(r result, name string) (all []identity) {
	changes := slices.ContainsFunc(r.translation.Events, func(e *eventv1.Event) bool {
		return strings.HasSuffix(e.GetType(), ".changed") || strings.HasSuffix(e.GetType(), ".updated")
	})
	for _, k := range naturalKeys(r.translation) {
		text, _ := k.Natural()
		all = append(all, identity{
			natural: k, key: r.event + "\x00" + text, about: about(r.translation, true), name: name,
			subjects: about(r.translation, false), change: changes,
		})
	}
	return all
}

// naturalKeys returns the natural keys of a translation.
func naturalKeys(t connectors.Translation) (keys []connectors.Key) {
	for _, k := range append([]connectors.Key{t.Key}, t.Also...) {
		if _, ok := k.Natural(); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// about lists the subjects of a translation, with or without their versions.
func about(t connectors.Translation, versions bool) string {
	subjects := make([]string, len(t.Events))
	for i, e := range t.Events {
		subjects[i] = e.GetSubject()
		if version := e.GetSubjectVersion(); versions && version != "" {
			subjects[i] += " " + version
		}
	}
	return strings.Join(slices.Compact(subjects), ", ")
}

// unknownEvent is the name of an event that no schema has.
const unknownEvent = "event.nobody_modelled"

func checkUnmapped(k *kit) error {
	nameless := *k.connector
	nameless.EventField = ""
	u := k.with(&nameless, k.source)
	return k.each(func(d document) error {
		d.named.Path, d.named.Header = unknownEvent, ""
		if !wellFormed(k.text(d)) {
			return nil
		}
		r := u.run(d)
		if r.fault != nil {
			return r.fault
		}
		e := r.translation.Events[0]
		if got, want := e.GetUnmapped().GetJson(), strings.TrimPrefix(string(r.text), "\uFEFF"); got != want {
			return fmt.Errorf("carries %q", got)
		}
		return cmp.Or(checkEvent(e), u.checkUnmappedKey(d, r.translation.Key))
	})
}

// checkUnmappedKey checks that a natural key depends on the body.
func (k *kit) checkUnmappedKey(d document, key connectors.Key) error {
	_, natural := key.Natural()
	differs := !natural || key == d.key
	err := k.alter(d, func(r result) error {
		differs = differs || r.translation.Key != key
		return nil
	})
	if err == nil && !differs {
		err = errors.New("its key does not depend on the body")
	}
	return err
}

func wellFormed(body []byte) bool { return vendorjson.Check(body) == nil }
