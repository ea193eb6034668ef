package connectors

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Event is one of the events that a vendor's service models.
type Event struct {
	// Name is the vendor's own, such as "shipping.ordered": the last segment of Path.
	Name string
	// Path is where the generated gateway expects the event. Requests are sent there by name, never by a path that a
	// vendor's request was concatenated into.
	Path string
	// Method is the RPC.
	Method protoreflect.MethodDescriptor
	// Type is the generated Go type of the RPC's request.
	Type protoreflect.MessageType
}

// New returns an empty request message of the event's RPC.
func (e Event) New() proto.Message { return e.Type.New().Interface() }

// FullMethod is the RPC's name as gRPC calls it, such as "/webhooks.acme.v1.AcmeWebhookService/OrderPlaced".
func (e Event) FullMethod() string {
	return "/" + string(e.Method.Parent().FullName()) + "/" + string(e.Method.Name())
}

// Events returns the events of the connector's service by name. It reads the descriptors at each call: call it once and
// keep the map. The error names every RPC that is not an event: an event is a unary RPC with exactly one HTTP rule, a POST of
// the whole body, whose path ends in a name of its own.
func (c *Connector) Events() (map[string]Event, error) {
	if c.Service == nil {
		return nil, fmt.Errorf("connectors: %q has no service", c.Name)
	}
	methods := c.Service.Methods()
	events := make(map[string]Event, methods.Len())
	var problems []error
	if methods.Len() == 0 {
		problems = append(problems, fmt.Errorf("connectors: service %s has no events", c.Service.FullName()))
	}
	for i := range methods.Len() {
		e, err := eventOf(methods.Get(i))
		if other, taken := events[e.Name]; err == nil && taken {
			err = fmt.Errorf("is the event %q, which is %s already", e.Name, other.Method.Name())
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("connectors: %s %w", methods.Get(i).FullName(), err))
			continue
		}
		events[e.Name] = e
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return events, nil
}

// eventOf reads one RPC. Errors continue a sentence that begins with its name.
func eventOf(m protoreflect.MethodDescriptor) (Event, error) {
	if m.IsStreamingClient() || m.IsStreamingServer() {
		return Event{}, errors.New("streams, but a webhook is one request")
	}
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	switch {
	case rule == nil:
		return Event{}, errors.New("has no google.api.http rule")
	case rule.GetPost() == "":
		return Event{}, errors.New("is not a POST")
	case rule.GetBody() != "*":
		return Event{}, fmt.Errorf("takes the body %q, but the whole is needed: \"*\"", rule.GetBody())
	case rule.GetResponseBody() != "" || len(rule.GetAdditionalBindings()) > 0:
		return Event{}, errors.New("has a response_body or additional_bindings, which would be ignored")
	}
	path := rule.GetPost()
	name := path[strings.LastIndexByte(path, '/')+1:]
	if name == "" || strings.ContainsAny(path, "{}*:%?#") {
		return Event{}, fmt.Errorf("has the path %q, which does not end in a plain name", path)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		return Event{}, fmt.Errorf("takes %s, which no linked package generates", m.Input().FullName())
	}
	return Event{Name: name, Path: path, Method: m, Type: t}, nil
}
