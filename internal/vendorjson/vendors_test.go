package vendorjson

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
	kasafikv1 "github.com/webhook-bridge/bridge/gen/webhooks/kasafik/v1"
	lingav1 "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// vendorFiles are the schemas of the five vendors.
var vendorFiles = []protoreflect.FileDescriptor{
	dealposv1.File_webhooks_dealpos_v1_dealpos_proto,
	kasafikv1.File_webhooks_kasafik_v1_kasafik_proto,
	lingav1.File_webhooks_linga_v1_linga_proto,
	openloyaltyv1.File_webhooks_openloyalty_v1_openloyalty_proto,
	retinov1.File_webhooks_retino_v1_retino_proto,
}

// sample is a webhook from a vendor's page, corrected where the page is broken, or made from other knowledge.
type sample struct {
	name string
	data []byte
	typ  protoreflect.MessageType
}

// samples reads testdata/samples/<vendor>/<event>.json; the event's path in the vendor's service tells the message.
func samples(tb testing.TB) []sample {
	tb.Helper()
	byPath := make(map[string]protoreflect.MessageType)
	for _, file := range vendorFiles {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				rule := proto.GetExtension(methods.Get(j).Options(), annotations.E_Http).(*annotations.HttpRule)
				byPath[rule.GetPost()] = messageType(tb, methods.Get(j).Input())
			}
		}
	}
	files, err := filepath.Glob("testdata/samples/*/*.json")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no samples: %v", err)
	}
	var all []sample
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.ToSlash(strings.TrimPrefix(file, filepath.Join("testdata", "samples")+string(filepath.Separator))), ".json")
		typ := byPath["/webhooks/"+name]
		if typ == nil {
			tb.Fatalf("%s: no call has this path", name)
		}
		all = append(all, sample{name: name, data: data, typ: typ})
	}
	return all
}

func messageType(tb testing.TB, md protoreflect.MessageDescriptor) protoreflect.MessageType {
	tb.Helper()
	typ, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		tb.Fatal(err)
	}
	return typ
}

// vendorMessages are all messages of the five vendors.
func vendorMessages(tb testing.TB) []protoreflect.MessageType {
	tb.Helper()
	var all []protoreflect.MessageType
	for _, file := range vendorFiles {
		for i := range file.Messages().Len() {
			all = append(all, messageType(tb, file.Messages().Get(i)))
		}
	}
	return all
}
