package vendorjson

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// document is a document with the result that it must have at every turn.
type document struct {
	sample
	want   proto.Message
	drifts []string
	err    error
}

// turns has good and bad documents: every sample, the sample broken in many ways, and hostile ones. A new decoder determines
// each expected result.
func turns(t *testing.T) []document {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var all []document
	add := func(s sample) {
		d := document{sample: s, want: s.typ.New().Interface()}
		tb, err := tableOf(s.typ.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		fresh := new(decoder)
		fresh.data = s.data
		fresh.frames = []frame{{hash: rootHash}}
		if fault := fresh.readDocument(tb); fault != nil {
			d.err = fresh.locate(fault)
		} else if err := intoMessage.Unmarshal(fresh.out, d.want); err != nil {
			t.Fatal(err)
		} else {
			d.drifts = driftLines(fresh.drifts)
		}
		all = append(all, d)
	}
	for _, s := range samples(t) {
		add(s)
		for i := range 20 {
			broken := bytes.Clone(s.data)
			switch at := random.IntN(len(broken)); i % 4 {
			case 0:
				broken = broken[:at]
			case 1:
				broken[at] = byte(random.IntN(256))
			case 2:
				broken = append(broken[:at:at], append([]byte(`"x":[{"y":1}],`), s.data[at:]...)...)
			case 3:
				broken = bytes.Replace(broken, []byte(`"`), []byte(fmt.Sprintf(`"unknown%d":{"a":1,"b":[2]},"`, i)), 1)
			}
			add(sample{name: fmt.Sprintf("%s, broken %d", s.name, i), data: broken, typ: s.typ})
		}
		for _, h := range hostile[:4] {
			add(sample{name: s.name + ", " + h.name, data: []byte(h.doc[:min(len(h.doc), 20_000)]), typ: s.typ})
		}
		add(sample{name: s.name + ", deep", data: []byte(strings.Repeat(`{"data":`, 100)), typ: s.typ})
	}
	return all
}

func (d document) check(t *testing.T) {
	t.Helper()
	got := d.typ.New().Interface()
	drifts, err := Unmarshal(d.data, got)
	want, wanted := errors.AsType[*Error](d.err)
	if e, ok := errors.AsType[*Error](err); ok != wanted || ok && *e != *want {
		t.Errorf("%s: error %v, want %v", d.name, err, d.err)
		return
	}
	if d.err != nil {
		return
	}
	if !proto.Equal(got, d.want) {
		t.Errorf("%s: got %v, want %v", d.name, got, d.want)
	}
	if diff := cmp.Diff(d.drifts, driftLines(drifts)); diff != "" {
		t.Errorf("%s: drift: %s", d.name, diff)
	}
}

// A decoder's memory never affects the next document's result, after any document and with concurrent decoders.
func TestNothingLeaks(t *testing.T) {
	all := turns(t)
	good, bad := 0, 0
	for _, d := range all {
		if d.err == nil {
			good++
		} else {
			bad++
		}
	}
	if good < 100 || bad < 100 {
		t.Fatalf("%d good and %d bad documents are too few to tell", good, bad)
	}
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 3))
			for range 3000 {
				all[random.IntN(len(all))].check(t)
			}
		})
	}
	wait.Wait()
}

// Drifts belong to the caller: later documents do not change them.
func TestDriftsAreTheCallers(t *testing.T) {
	m := kind(t, "Kinds")
	first, err := Unmarshal([]byte(`{"x":"first","y":1}`), m)
	if err != nil {
		t.Fatal(err)
	}
	want := driftLines(first)
	for range 100 {
		if _, err := Unmarshal([]byte(`{"zzzzzz":"second","q":[2],"int64":"12"}`), kind(t, "Kinds")); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, driftLines(first)); diff != "" {
		t.Error(diff)
	}
}

// A huge document's memory does not stay in the pool.
func TestPoolStaysSmall(t *testing.T) {
	for _, doc := range append([]string{`{"aString":"` + strings.Repeat("x", 1<<20) + `"}`}, hostileDocs()...) {
		d := acquireDecoder([]byte(doc))
		tb, err := tableOf(kind(t, "Kinds").ProtoReflect().Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		_ = d.readDocument(tb)
		d.release()
		if d.data != nil || d.drifts != nil {
			t.Errorf("%.40s…: the decoder holds on to the document", doc)
		}
		if n := cap(d.out) + cap(d.text) + 8*cap(d.seen) + 8*cap(d.open.words) + 48*cap(d.frames); n > 5*keepBytes {
			t.Errorf("%.40s…: the decoder keeps %d bytes", doc, n)
		}
	}
}

func hostileDocs() []string {
	var docs []string
	for _, h := range hostile {
		docs = append(docs, h.doc)
	}
	return docs
}
