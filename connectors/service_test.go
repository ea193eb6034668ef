package connectors_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/webhook-bridge/bridge/connectors"
	kasafikv1 "github.com/webhook-bridge/bridge/gen/webhooks/kasafik/v1"
)

func TestEvents(t *testing.T) {
	c := &connectors.Connector{Service: kasafikv1.File_webhooks_kasafik_v1_kasafik_proto.Services().Get(0)}
	events, err := c.Events()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"categories", "customers", "order_details", "orders", "products"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(events))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	e := events["order_details"]
	if e.Name != "order_details" || e.Path != "/webhooks/kasafik/order_details" {
		t.Errorf("name %q, path %q", e.Name, e.Path)
	}
	if e.FullMethod() != kasafikv1.KasafikWebhookService_OrderDetails_FullMethodName {
		t.Errorf("full method %q", e.FullMethod())
	}
	first, second := e.New(), e.New()
	if _, ok := first.(*kasafikv1.OrderDetail); !ok || first == second {
		t.Errorf("New returns %T, the same twice: %t", first, first == second)
	}
}

// rpc describes a method that takes and returns Record, but for what the test says.
type rpc struct {
	rule   *annotations.HttpRule
	input  string
	stream bool
}

func post(path string) *annotations.HttpRule {
	return &annotations.HttpRule{Pattern: &annotations.HttpRule_Post{Post: path}, Body: "*"}
}

// service builds a service of the methods A, B, … .
func service(t *testing.T, rpcs ...rpc) protoreflect.ServiceDescriptor {
	t.Helper()
	sd := &descriptorpb.ServiceDescriptorProto{Name: proto.String("AcmeWebhookService")}
	for i, r := range rpcs {
		m := &descriptorpb.MethodDescriptorProto{
			Name:            proto.String(fmt.Sprintf("%c", 'A'+i)),
			InputType:       proto.String(".webhooks.kasafik.v1.Record"),
			OutputType:      proto.String(".webhooks.kasafik.v1.Receipt"),
			ClientStreaming: proto.Bool(r.stream),
		}
		if r.input != "" {
			m.InputType = proto.String(r.input)
		}
		if r.rule != nil {
			m.Options = &descriptorpb.MethodOptions{}
			proto.SetExtension(m.Options, annotations.E_Http, r.rule)
		}
		sd.Method = append(sd.Method, m)
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name:        proto.String("acme.proto"),
		Package:     proto.String("acme.v1"),
		Syntax:      proto.String("proto3"),
		Dependency:  []string{"webhooks/kasafik/v1/kasafik.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Ungenerated")}},
		Service:     []*descriptorpb.ServiceDescriptorProto{sd},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file.Services().Get(0)
}

func TestEventsOfABadService(t *testing.T) {
	more := post("/webhooks/acme/a")
	more.AdditionalBindings = []*annotations.HttpRule{post("/webhooks/acme/b")}
	part := post("/webhooks/acme/a")
	part.Body = "record"
	bodiless := post("/webhooks/acme/a")
	bodiless.Body = ""
	inner := post("/webhooks/acme/a")
	inner.ResponseBody = "status"
	for _, tt := range []struct {
		name string
		rpcs []rpc
		want string
	}{
		{"no events", nil, "acme.v1.AcmeWebhookService has no events"},
		{"no rule", []rpc{{}}, "AcmeWebhookService.A has no google.api.http rule"},
		{"get", []rpc{{rule: &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/a"}}}}, "A is not a POST"},
		{"part of the body", []rpc{{rule: part}}, `A takes the body "record"`},
		{"no body", []rpc{{rule: bodiless}}, `A takes the body ""`},
		{"part of the answer", []rpc{{rule: inner}}, "A has a response_body"},
		{"two paths", []rpc{{rule: more}}, "additional_bindings"},
		{"no name", []rpc{{rule: post("/webhooks/acme/")}}, `A has the path "/webhooks/acme/"`},
		{"variable", []rpc{{rule: post("/webhooks/acme/{t}")}}, `A has the path "/webhooks/acme/{t}"`},
		{"verb", []rpc{{rule: post("/webhooks/acme/a:close")}}, `A has the path "/webhooks/acme/a:close"`},
		{"stream", []rpc{{rule: post("/webhooks/acme/a"), stream: true}}, "A streams"},
		{"same name", []rpc{{rule: post("/webhooks/acme/a")}, {rule: post("/v2/acme/a")}}, `B is the event "a", which is A already`},
		{"no Go type", []rpc{{rule: post("/webhooks/acme/a"), input: ".acme.v1.Ungenerated"}}, "A takes acme.v1.Ungenerated, which no linked"},
		{"all at once", []rpc{{}, {rule: post("/webhooks/acme/b")}, {}}, "C has no google.api.http rule"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &connectors.Connector{Name: "acme", Service: service(t, tt.rpcs...)}
			events, err := c.Events()
			if err == nil {
				t.Fatalf("events %v", slices.Sorted(maps.Keys(events)))
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "connectors: ") {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

func TestEventsOfNoService(t *testing.T) {
	if _, err := (&connectors.Connector{Name: "acme"}).Events(); err == nil || !strings.Contains(err.Error(), "acme") {
		t.Errorf("error %v", err)
	}
}
