package vendorjson

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
)

// The samples come through whole: nothing unknown, nothing unexpected, and the message says what protojson makes of it.
func TestSamples(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			got := s.typ.New().Interface()
			drifts, err := Unmarshal(s.data, got)
			if err != nil {
				t.Fatal(err)
			}
			if len(drifts) != 0 {
				t.Errorf("drift in a sample of the vendor's own: %+v", drifts)
			}
			again := s.typ.New().Interface()
			if err := protojson.Unmarshal(asProtojson(t, s), again); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(again, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			t.Log(got)
		})
	}
}
