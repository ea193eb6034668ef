// Package connectortest judges a connector. A connector's test is one line, and so is its fuzzer:
//
//	func TestConnector(t *testing.T) { connectortest.Run(t, acme.New(), source) }
//
//	func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, acme.New(), source) }
//
// where source is what the webhooks are taken to come from:
//
//	var source = connectors.Source{Name: "shop", Currency: "EUR", Zone: time.UTC}
//
// # Webhooks
//
// Run reads every file testdata/*.txtar of the package under test; each holds one webhook, as package
// [github.com/webhook-bridge/bridge/connectors/sample] documents, and what must become of it:
//
//   - events.json is the key and the canonical events, without what Bridge fills in (ids, source, times of receipt). Of a
//     list of webhooks it is a list, too: of each element key and events, or its quarantine, and its drift.
//   - quarantine.json says why the webhook was refused instead: reason, JSON path, byte offset (-1 if it is not about one
//     place), and the problem if the connector found it.
//   - drift.json lists where the body and the vendor's message differ; only if they do.
//
// These are written by `go test -update`, and reviewed like code. The body is the vendor's own as far as it is known: the
// kit makes the broken and the odd ones itself. Testdata are for traps, one a file, named after it.
//
// # Rules
//
// Run then holds the connector to its contract, with these webhooks and with many that are made of them. A rule that fails
// prints its sentence; a webhook that breaks a rule is left out of the later ones, so that one fault is told once. The
// first rules are about the connector itself and about pure translation; the last take the webhooks through Bridge as it
// runs, from the HTTP request to the journal, by a clock that the kit sets:
//
//	facts        the name, the gateway
//	answer       the answer fits the RPCs
//	samples      the testdata are embedded as they are
//	coverage     each event has a webhook that becomes canonical events
//	mended       what is not quite JSON is mended, and what is JSON is left alone
//	complete     canonical events keep to the rules of proto/bridge/event/v1
//	pure         nothing is changed, nothing is remembered, and the clock is not asked
//	source       currency and time zone are the webhook's, or the source's
//	errors       a refusal names the field at fault
//	identity     a natural key tells facts apart
//	unmapped     what nobody modelled flows through
//	truncated    a body cut anywhere is refused
//	missing      any value may be missing, null or of another kind
//	mutated      any byte may be wrong
//	unknown      fields that nobody declared change nothing, and are reported
//	exact        money keeps every digit and its sign, texts keep every letter
//	received     Bridge makes of each webhook what its file says, and gives the answer
//	redelivered  a webhook that comes again makes nothing new
//	repeated     a body that is its own key is a new occurrence once the window has passed
//	revised      the same key with another body is published too
//	secrets      strangers are kept out, and secrets can be changed
//
// [Fuzz] tries any body.
//
// # What no rule knows
//
// These are left to whoever reads the expectations, and the vendor's page:
//
//   - Whether a natural key tells enough. An id alone is right for what happens to a subject once; of what may come again it
//     makes duplicates. The kit minds only where the event's type ends in ".changed" or ".updated".
//   - What a number counts. Thousandths taken for cents are as exact as cents.
//   - Where a currency comes from that neither webhook nor source spells out: a number for it, a symbol, or a vendor that has
//     only one.
//   - Whether a discount's sign is lost or taken off: canonical discounts are positive amounts.
//   - Whether the vendor says everything in Delivery. Windows are measured against what they say.
package connectortest

import (
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/intake"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// patience is how long a rule may take, many times what any needs.
const patience = 2 * time.Minute

// Run tests the connector c on behalf of a package whose testdata holds its webhooks. src is the source that they are
// taken to come from; what the vendor leaves out, such as the currency, must be set there.
func Run(t *testing.T, c *connectors.Connector, src connectors.Source) {
	t.Helper()
	k, err := newKit(c, src, os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	k.inAnotherYear = inAnotherYear(t)
	t.Run("webhooks", func(t *testing.T) {
		for _, w := range k.webhooks {
			t.Run(w.Name, func(t *testing.T) {
				if err := k.golden(w); err != nil {
					t.Error(err)
				}
			})
		}
	})
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if err := within(func() error { return r.check(k) }); err != nil {
				t.Errorf("%v\nThe contract: %s", err, r.contract)
			}
		})
	}
}

// inAnotherYear runs functions by the clock of a bubble, which begins in the year 2000.
func inAnotherYear(t *testing.T) func(f func()) {
	return func(f func()) { synctest.Test(t, func(*testing.T) { f() }) }
}

// within lets f take as long as a rule may. An f that hangs is left behind.
func within(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errors.New("does not end")
	}
}

// kit is what the rules judge.
type kit struct {
	*pipeline

	// folder holds the package's testdata.
	folder   fs.FS
	webhooks []sample.Webhook
	// documents of all webhooks that can be opened.
	documents []document
	// bad are the samples that broke a rule.
	bad map[string]bool
	// inAnotherYear runs a function by another clock.
	inAnotherYear func(func())
	// journal is put between intake and the journal, if a test of this kit breaks that.
	journal func(intake.Journal) intake.Journal
}

func newKit(c *connectors.Connector, src connectors.Source, folder fs.FS) (*kit, error) {
	p, err := newPipeline(c, src)
	if err != nil {
		return nil, err
	}
	webhooks, err := sample.Read(folder)
	if err != nil {
		return nil, err
	}
	k := &kit{pipeline: p, folder: folder, webhooks: webhooks, bad: make(map[string]bool)}
	return k, within(func() error {
		for _, w := range webhooks {
			documents, _, _ := p.open(w)
			k.documents = append(k.documents, documents...)
		}
		return nil
	})
}

// offspring is how many bodies [Fuzz] makes itself of each that the fuzzer comes up with. The fuzzer's own work for a body,
// looking at the coverage of all that is linked, costs as much as translating a hundred.
const offspring = 32

// Fuzz feeds the connector bodies made of those in testdata: whatever comes in, nothing panics, and every event is one that
// Bridge can take. Of what the fuzzer counts as one execution, Fuzz makes 33.
func Fuzz(f *testing.F, c *connectors.Connector, src connectors.Source) {
	f.Helper()
	k, err := newKit(c, src, os.DirFS("."))
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range k.documents {
		f.Add(d.named.Path+d.named.Header, d.body)
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		if err := k.survive(event, body); err != nil {
			t.Error(err)
		}
	})
}

// survive has the connector take a body, and others that are made of it, the same each time.
func (k *kit) survive(event string, body []byte) error {
	d := document{named: intake.Names{Path: event}, body: body}
	if err := k.withstand(d); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, uint64(crc32.ChecksumIEEE(body)))) //nolint:gosec // nothing rests on its strength
	for range offspring {
		other := mutate(random, body)
		if err := k.withstand(d.of(other)); err != nil {
			return fmt.Errorf("%q: %w", other, err)
		}
	}
	return nil
}

// withstand has the connector take a document.
func (k *kit) withstand(d document) error {
	r := k.take(d, func(m proto.Message) proto.Message { return m })
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

// each judges every document whose sample broke no rule yet, and names those that break this one.
func (k *kit) each(judge func(document) error) error {
	var errs []error
	for _, d := range k.documents {
		errs = append(errs, k.blame(d.name, func() error { return judge(d) }))
	}
	return errors.Join(errs...)
}

// blame judges what name stands for, unless it broke a rule already, and notes if it does.
func (k *kit) blame(name string, judge func() error) error {
	file, _, _ := strings.Cut(name, "[")
	if k.bad[file] {
		return nil
	}
	if err := judge(); err != nil {
		k.bad[file] = true
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
