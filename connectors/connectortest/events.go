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
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// sound says whether a result is an honest one, be it events that keep to their rules or a refusal.
func sound(r result) error {
	if r.broken() {
		return r.fault
	}
	for _, e := range r.translation.Events {
		if err := valid(e); err != nil {
			return err
		}
	}
	return nil
}

// valid says whether an event as a connector makes it keeps to the rules of its schema once Bridge has filled in the rest.
func valid(e *eventv1.Event) error {
	if err := complete(e); err != nil {
		return err
	}
	filled := &eventv1.Event{
		Id: anyUUID, Source: "source", Connector: "connector", VendorEvent: "event", WebhookId: anyUUID,
		ReceivedAt: timestamppb.New(time.Unix(0, 0)),
		Type:       e.GetType(), Subject: e.GetSubject(), SubjectVersion: e.GetSubjectVersion(), OccurredAt: e.GetOccurredAt(),
		Data: e.GetData(),
	}
	return errors.Join(protovalidate.Validate(filled), inner(e.ProtoReflect()))
}

const anyUUID = "01890a5d-ac96-774b-bcce-b302099a8057"

// inner finds what the rules of a message cannot say: whether a time anywhere in it is one, and whether money that is set
// has a currency though it is nothing.
func inner(m protoreflect.Message) (err error) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				err = errors.Join(err, innerOf(fd, v.List().Get(i).Message()))
			}
		default:
			err = innerOf(fd, v.Message())
		}
		return err == nil
	})
	return err
}

func innerOf(fd protoreflect.FieldDescriptor, m protoreflect.Message) error {
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
	return inner(m)
}

// complete says whether Bridge can take an event as a connector makes it, where intake does not. It is what [Fuzz] has time
// for.
func complete(e *eventv1.Event) error {
	switch {
	case e.GetData() == nil:
		return fmt.Errorf("type %q without data", e.GetType())
	case e.GetId() != "" || e.GetSource() != "" || e.GetConnector() != "" || e.GetVendorEvent() != "" || e.GetReceivedAt() != nil ||
		e.GetWebhookId() != "" || e.GetSupersedes() != "":
		return errors.New("a field that Bridge fills in is set already")
	}
	_, err := proto.Marshal(e)
	return err
}

func checkIdentity(k *kit) error {
	// By event and natural key.
	facts := make(map[string]fact)
	return k.each(func(d document) error {
		this, ok := factOf(k.run(d), d.name)
		if !ok {
			return nil
		}
		if other, taken := facts[this.key]; taken && other.about != this.about {
			return fmt.Errorf("the same key as %s, which is about %s, not %s", other.name, other.about, this.about)
		}
		facts[this.key] = this
		if _, header := d.key.Natural(); header {
			return nil // whatever the body says
		}
		if this.own {
			return k.checkOwnID(d, this)
		}
		told := !this.change
		err := k.alter(d, func(r result) error {
			other, ok := factOf(r, "")
			if ok && other.key == this.key && other.about != this.about {
				return fmt.Errorf("changed, it has the same key, though it is about %s, not %s", other.about, this.about)
			}
			told = told || ok && other.key != this.key && other.subjects == this.subjects
			return nil
		})
		if err == nil && !told {
			err = fmt.Errorf("all changes of %s have the same key", this.subjects)
		}
		return err
	})
}

// checkOwnID sees whether the vendor's id of an occurrence is in the webhook: another id makes another key, whatever else stays.
func (k *kit) checkOwnID(d document, this fact) error {
	told := false
	err := k.alter(d, func(r result) error {
		other, ok := factOf(r, "")
		told = told || ok && other.key != this.key && other.about == this.about
		return nil
	})
	if err == nil && !told {
		err = fmt.Errorf("nothing in it but what it is about, %s, is the vendor's own id", this.about)
	}
	return err
}

// fact is what a webhook says and how it is told from others.
type fact struct {
	key, about, name string
	// subjects is about without the versions.
	subjects string
	// change says that it may be so for the same subject again, own that the key is the vendor's own id of the occurrence.
	change, own bool
}

// factOf returns the fact of a result that has a natural key.
func factOf(r result, name string) (f fact, ok bool) {
	natural, ok := r.translation.Key.Natural()
	f = fact{
		key: r.event + "\x00" + natural, about: about(r.translation, true), name: name,
		subjects: about(r.translation, false), own: r.translation.Key.Own(),
	}
	for _, e := range r.translation.Events {
		f.change = f.change || strings.HasSuffix(e.GetType(), ".changed") || strings.HasSuffix(e.GetType(), ".updated")
	}
	return f, ok && !r.refused()
}

// about is which subjects a translation is about, or which versions of them.
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

// nobodys is the name of an event that no vendor has.
const nobodys = "event.nobody_modelled"

func checkUnmapped(k *kit) error {
	nameless := *k.connector
	nameless.EventField = ""
	u := k.with(&nameless, k.source)
	return k.each(func(d document) error {
		d.named.Path, d.named.Header = nobodys, ""
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
		return cmp.Or(valid(e), u.telling(d, r.translation.Key))
	})
}

// telling says whether anything in a document has a part in its natural key.
func (k *kit) telling(d document, key connectors.Key) error {
	_, natural := key.Natural()
	_, header := d.key.Natural()
	told := !natural || header
	err := k.alter(d, func(r result) error {
		told = told || r.translation.Key != key
		return nil
	})
	if err == nil && !told {
		err = errors.New("its key is the same whatever it says")
	}
	return err
}

func wellFormed(body []byte) bool { return vendorjson.Check(body) == nil }
