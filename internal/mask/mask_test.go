package mask

import (
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

var personFile = sync.OnceValues(func() (protoreflect.FileDescriptor, error) {
	text, err := os.ReadFile("testdata/person.txtpb")
	if err != nil {
		return nil, err
	}
	file := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal(text, file); err != nil {
		return nil, err
	}
	return protodesc.NewFile(file, protoregistry.GlobalFiles)
})

// personType is the message in testdata/person.txtpb.
func personType(tb testing.TB) protoreflect.MessageDescriptor {
	tb.Helper()
	file, err := personFile()
	if err != nil {
		tb.Fatal(err)
	}
	return file.Messages().ByName("Person")
}

func person(tb testing.TB, text string) proto.Message {
	tb.Helper()
	m := dynamicpb.NewMessage(personType(tb))
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestMessage(t *testing.T) {
	const secrets = `name: "Jan" mails: ["a@b.cz", ""] age: 42 picture: "jpg" born { year: 1985 } seen { seconds: 1 } home { id: "1" }
		kin { id: "2" } phones { key: "home" value: "777" } `
	const hidden = `name: "•••" mails: ["•••", "•••"] `
	tests := []struct{ in, want string }{
		{``, ``},
		{`id: "7" count: 3 tags: ["new"] price { value: "9.90" } labels { key: "k" value: "v" }`, ``},
		{secrets, hidden},
		{`friend { friend { ` + secrets + ` id: "1" } }`, `friend { friend { ` + hidden + ` id: "1" } }`},
		{`friends { id: "1" } friends { ` + secrets + ` }`, `friends { id: "1" } friends { ` + hidden + ` }`},
		{`groups { key: "g" value { id: "1" ` + secrets + ` } }`, `groups { key: "g" value { id: "1" ` + hidden + ` } }`},
		{`name: ""`, ``},
		{`more: '{"id":12,"Jan Novák":"Brno 1"}'`, `more: '{"id":00,"xxx xxxxx":"xxxx 0"}'`},
	}
	for _, tt := range tests {
		in := person(t, tt.in)
		before := proto.Clone(in)
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if diff := cmp.Diff(person(t, want), Message(in), protocmp.Transform()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.in, diff)
		}
		if !proto.Equal(before, in) {
			t.Errorf("%s was changed to %v", tt.in, in)
		}
	}
}

// A field from a newer schema may have any content.
func TestMessageDropsUnknownFields(t *testing.T) {
	in := &eventv1.Event{Id: "1", Data: &eventv1.Event_Customer{Customer: &eventv1.Customer{Id: "2", Name: "Jan"}}}
	unknown := protoreflect.RawFields{0xfa, 0x7f, 3, 'J', 'a', 'n'} // field 2047
	in.ProtoReflect().SetUnknown(unknown)
	in.GetCustomer().ProtoReflect().SetUnknown(unknown)
	want := &eventv1.Event{Id: "1", Data: &eventv1.Event_Customer{Customer: &eventv1.Customer{Id: "2", Name: Mark}}}
	if diff := cmp.Diff(want, Message(in), protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(in.GetCustomer().ProtoReflect().GetUnknown()) == 0 {
		t.Error("the message itself was changed")
	}
}

func TestMessageOfNothing(t *testing.T) {
	if m := Message(nil); m != nil {
		t.Errorf("of nil: %v", m)
	}
	if m, ok := Message((*eventv1.Event)(nil)).(*eventv1.Event); !ok || m != nil {
		t.Errorf("of a nil event: %v", m)
	}
}
