package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// rule is a part of the contract, with the sentence that it enforces.
type rule struct {
	name, contract string
	check          func(*pipeline, []archive) error
}

var rules = []rule{
	{"facts", "A connector has a name of one lower-case word, a translation, and a gateway that registers.", checkFacts},
	{"answer", "The answer is JSON, and of the type that the RPCs return.", checkAnswer},
	{"coverage", "Every event of the service has a webhook in testdata that becomes canonical events.", checkCoverage},
	{"complete", "Each event has type, subject and the data that its type promises, can be encoded, and leaves the rest to Bridge.", checkComplete},
	{"pure", "Translate does not change its arguments, and gives the same each time.", checkPure},
	{"errors", "A message that cannot be translated gets a connectors.Error with the path of the field at fault.", checkErrors},
	{"unmapped", "An event that nobody modelled is data, not an error.", checkUnmapped},
	{"truncated", "A body cut anywhere is refused, without panic.", checkTruncated},
	{"missing", "A field that is missing, or null, or of an unexpected type costs at most its webhook: no panic.", checkMissing},
}

var word = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// nowhere is a connection that is never used.
type nowhere struct{ grpc.ClientConnInterface }

func checkFacts(p *pipeline, _ []archive) error {
	c := p.connector
	if !word.MatchString(c.Name) {
		return fmt.Errorf("name %q", c.Name)
	}
	if c.Translate == nil || c.Register == nil {
		return errors.New("no Translate or no Register")
	}
	return c.Register(context.Background(), runtime.NewServeMux(), nowhere{})
}

func checkAnswer(p *pipeline, _ []archive) error {
	if !json.Valid([]byte(p.connector.Answer)) {
		return fmt.Errorf("answer %q", p.connector.Answer)
	}
	for _, name := range slices.Sorted(maps.Keys(p.events)) {
		t, err := protoregistry.GlobalTypes.FindMessageByName(p.events[name].Method.Output().FullName())
		if err != nil {
			return err
		}
		if err := protojson.Unmarshal([]byte(p.connector.Answer), t.New().Interface()); err != nil {
			return fmt.Errorf("%s: answer %q: %w", name, p.connector.Answer, err)
		}
	}
	return nil
}

func checkCoverage(p *pipeline, archives []archive) error {
	missing := maps.Clone(p.events)
	for _, a := range archives {
		if r := p.run(a.event, a.body); r.fault == nil {
			delete(missing, r.event)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no webhook of %s", strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
	return nil
}

func checkComplete(p *pipeline, archives []archive) error {
	return each(archives, func(a archive) error {
		r := p.run(a.event, a.body)
		if r.broken() {
			return r.fault
		}
		for _, e := range r.translation.Events {
			if err := complete(e); err != nil {
				return err
			}
		}
		return nil
	})
}

func complete(e *eventv1.Event) error {
	switch {
	case !dataFits(e):
		return fmt.Errorf("type %q with data %T", e.GetType(), e.GetData())
	case !subject.MatchString(e.GetSubject()):
		return fmt.Errorf("subject %q", e.GetSubject())
	case e.GetOccurredAt() != nil && !e.GetOccurredAt().IsValid():
		return fmt.Errorf("occurred_at: %w", e.GetOccurredAt().CheckValid())
	case e.GetId() != "" || e.GetSource() != "" || e.GetConnector() != "" || e.GetVendorEvent() != "" || e.GetReceivedAt() != nil ||
		e.GetWebhookId() != "" || e.GetSupersedes() != "":
		return errors.New("a field that Bridge fills in is set already")
	}
	_, err := proto.Marshal(e)
	return err
}

// subject is "<kind>/<id>".
var subject = regexp.MustCompile(`^[a-z][a-z_]*/.`)

// dataKinds are the fields of Event.data that the first segment of a type promises, but for "loyalty", whose types differ.
var dataKinds = map[string]string{
	"bill_payment": "payment", "transfer": "stock_movement", "outbound": "stock_movement", "inbound": "stock_movement",
	"stock": "stock_movement", "loyalty.level_changed": "loyalty_level_change", "loyalty.points_changed": "loyalty_points_change",
	"loyalty.points_transferred": "loyalty_points_transfer", "loyalty.points_expiring": "loyalty_points_expiry",
	"loyalty.reward_redeemed": "loyalty_reward_redemption", "loyalty.level_expiring": "loyalty_level_expiry",
	"loyalty.coupon_expiring": "loyalty_coupon_expiry", "return": "return_case",
}

// dataFits says whether the event's data is set and is what its type promises.
func dataFits(e *eventv1.Event) bool {
	kind, _, _ := strings.Cut(e.GetType(), ".")
	want, special := dataKinds[e.GetType()]
	if !special {
		if want, special = dataKinds[kind]; !special {
			want = kind
		}
	}
	m := e.ProtoReflect()
	set := m.WhichOneof(m.Descriptor().Oneofs().ByName("data"))
	return set != nil && string(set.Name()) == want
}

func checkPure(p *pipeline, archives []archive) error {
	return each(archives, func(a archive) error {
		r := p.run(a.event, a.body)
		if r.message == nil || r.broken() {
			return nil
		}
		m := proto.Clone(r.message)
		first, errFirst := p.translate(r.event, m)
		if !proto.Equal(r.message, m) {
			return errors.New("the message is another after Translate")
		}
		second, errSecond := p.translate(r.event, m)
		if fmt.Sprint(errFirst) != fmt.Sprint(errSecond) || !sameTranslation(first, second) {
			return errors.New("translating twice gives different results")
		}
		return nil
	})
}

func sameTranslation(a, b connectors.Translation) bool {
	return a.Key == b.Key && slices.EqualFunc(a.Events, b.Events, func(x, y *eventv1.Event) bool { return proto.Equal(x, y) })
}

func checkErrors(p *pipeline, archives []archive) error {
	return each(archives, func(a archive) error {
		return variants(p, a, func(r result) error {
			if r.fault == nil || r.fault.Reason != intake.Untranslatable {
				return nil
			}
			_, err := p.translate(r.event, r.message)
			e, ok := errors.AsType[*connectors.Error](err)
			if !ok {
				return fmt.Errorf("error %T (%w) is no *connectors.Error", err, err)
			}
			if !strings.HasPrefix(e.Path, "$") || e.Problem == "" {
				return fmt.Errorf("path %q, problem %q", e.Path, e.Problem)
			}
			return nil
		})
	})
}

func checkUnmapped(p *pipeline, archives []archive) error {
	nameless := *p.connector
	nameless.EventField = ""
	p = &pipeline{connector: &nameless, events: p.events, source: p.source}
	return each(archives, func(a archive) error {
		if !wellFormed(a.body) {
			return nil
		}
		r := p.run("event.nobody_modelled", a.body)
		if r.fault != nil {
			return r.fault
		}
		return complete(r.translation.Events[0])
	})
}

func wellFormed(body []byte) bool { return vendorjson.Check(body) == nil }

func checkTruncated(p *pipeline, archives []archive) error {
	return each(archives, func(a archive) error {
		if p.run(a.event, a.body).refused() {
			return nil
		}
		whole := strings.TrimRight(string(a.body), " \t\r\n")
		for n := range len(whole) {
			r := p.run(a.event, []byte(whole[:n]))
			switch {
			case r.fault == nil:
				return fmt.Errorf("cut at byte %d: accepted", n)
			case r.broken():
				return fmt.Errorf("cut at byte %d: %w", n, r.fault)
			}
		}
		return nil
	})
}

func checkMissing(p *pipeline, archives []archive) error {
	return each(archives, func(a archive) error { return variants(p, a, sound) })
}

// sound says whether a result is an honest one, be it events or a refusal.
func sound(r result) error {
	if r.broken() {
		return r.fault
	}
	for _, e := range r.translation.Events {
		if err := complete(e); err != nil {
			return err
		}
	}
	return nil
}

// each names the archive that f fails for.
func each(archives []archive, f func(archive) error) error {
	var errs []error
	for _, a := range archives {
		if err := f(a); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.file, err))
		}
	}
	return errors.Join(errs...)
}
