// Package schematest has what tests of schemas share: the events of the connectors' testdata, and a validator.
package schematest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Golden is an event of a connector's testdata, with the fields that Bridge sets.
type Golden struct {
	// Name is that of the connector and of the webhook.
	Name  string
	Event *eventv1.Event
}

// UUID is the id of each event.
const UUID = "01890a5d-ac96-774b-bcce-b302099a8057"

// Goldens returns all events of the testdata below root, the folder of the connectors.
func Goldens(t *testing.T, root string) (all []Golden) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(root, "*", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		connector := filepath.Base(filepath.Dir(folder))
		webhooks, err := sample.Read(os.DirFS(filepath.Dir(folder)))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range webhooks {
			events, err := w.CanonicalEvents()
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range events {
				e := &eventv1.Event{}
				if err := protojson.Unmarshal(data, e); err != nil {
					t.Fatalf("%s: %s: %v", connector, w.Name, err)
				}
				e.Id, e.WebhookId, e.Source, e.Connector = UUID, UUID, "source", connector
				e.VendorEvent, e.ReceivedAt = "event", timestamppb.New(time.Unix(1_700_000_000, 123_000_000))
				all = append(all, Golden{connector + ": " + w.Name, e})
			}
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d events", len(all))
	}
	return all
}

// JSON reads a document for the validator.
func JSON(t *testing.T, data []byte) any {
	t.Helper()
	v, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Compile reads the schema at the place of the document, such as "#/definitions/Event". It fails the test unless the schema is valid in
// its draft, which is draft if the schema does not say.
func Compile(t *testing.T, document any, place string, draft *validator.Draft) *validator.Schema {
	t.Helper()
	c := validator.NewCompiler()
	c.DefaultDraft(draft)
	c.AssertFormat()
	if err := c.AddResource("document.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("document.json" + place)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Check validates an event in protobuf's JSON form.
func Check(t *testing.T, s *validator.Schema, e *eventv1.Event) error {
	t.Helper()
	data, err := protojson.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(JSON(t, data))
}
