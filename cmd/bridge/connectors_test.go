package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/webhook-bridge/bridge/internal/config"
)

// TestDescribedSourcesAreGood: what is suggested for each connector, and what the demo makes of it, is a configuration that
// Bridge takes.
func TestDescribedSourcesAreGood(t *testing.T) {
	all := allConnectors()
	secrets := func(string) (string, bool) { return "whsec_0123456789abcdef", true }
	suggested := []string{"sources:\n"}
	for name, c := range all {
		suggested = append(suggested, sourceText(name, c, "${"+strings.ToUpper(name)+"_SECRET}", "EUR", "Europe/Prague"))
	}
	for about, text := range map[string]string{
		"suggested": strings.Join(suggested, ""),
		"demo":      "sources:\n" + demoSources(all),
	} {
		cfg, err := config.Parse(about, []byte(text), secrets, connectorNeeds(all), config.Checks{HMAC: checkHMAC})
		if err != nil {
			t.Errorf("%s: %v\n%s", about, err, text)
			continue
		}
		if len(cfg.Sources) != len(all) {
			t.Errorf("%s: %d sources of %d connectors", about, len(cfg.Sources), len(all))
		}
	}
}

func TestDescribe(t *testing.T) {
	d, err := describe(allConnectors()["openloyalty"])
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
