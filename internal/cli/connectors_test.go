package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/webhook-bridge/bridge/connectors/openloyalty"
)

func TestDescribe(t *testing.T) {
	d, err := describe(openloyalty.New())
	if err != nil {
		t.Fatal(err)
	}
	if d.EventCount != len(d.Events) || d.EventCount < 20 {
		t.Errorf("%d events, %d described", d.EventCount, len(d.Events))
	}
	var points eventDescription
	for _, e := range d.Events {
		if e.Name == "account.expiring_points_notification" {
			points = e
		}
	}
	var got []string
	for _, f := range points.Fields {
		got = append(got, f.Name+": "+f.Type)
		for _, inner := range f.Fields {
			got = append(got, "  "+inner.Name+": "+inner.Type)
		}
	}
	want := []string{
		"type: string", "createdAt: string", "data: list of ExpiringPoints",
		"  customerId: string", "  customerEmail: string", "  customerPhone: string", "  customerLoyaltyCardNumber: string",
		"  customerFirstName: string", "  customerLastName: string", "  points: Decimal", "  pointsWillExpire: string",
		"  storeCode: string",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// TestDescribeStops: a message that holds itself is opened once.
func TestDescribeStops(t *testing.T) {
	category, parent := "Category", ".acme.Category"
	name, number, label, kind := "parent", int32(1), descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	file, pkg := "acme.proto", "acme"
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: &file, Package: &pkg,
		MessageType: []*descriptorpb.DescriptorProto{{
			Name:  &category,
			Field: []*descriptorpb.FieldDescriptorProto{{Name: &name, Number: &number, Label: &label, Type: &kind, TypeName: &parent}},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []fieldDescription{{Name: "parent", Type: "Category"}}
	if diff := cmp.Diff(want, describeFields(fd.Messages().Get(0), nil)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}
