// Package connectortest checks a connector by its testdata. A connector's test is one line, and so is its fuzz test:
//
//	func TestConnector(t *testing.T) { connectortest.Run(t, acme.New(), source) }
//
//	func FuzzConnector(f *testing.F) { connectortest.Fuzz(f, acme.New(), source) }
//
// where source is the configured source of the webhooks:
//
//	var source = connectors.Source{Name: "shop", Currency: "EUR", Zone: time.UTC}
//
// # Webhooks
//
// Run reads every file testdata/*.txtar of the package under test. Each file has one webhook, as package
// [github.com/webhook-bridge/bridge/connectors/sample] documents, and the expectations:
//
//   - events.json has the key and the canonical events, without the fields that Bridge sets (ids, source, time of receipt). For
//     an array of webhooks it is an array. Each element has the key and the events, or the quarantine, and the drift.
//   - ping.json says which ping the webhook is: one that the connector declares, or one that Bridge knows.
//   - quarantine.json says why the webhook is quarantined: reason, JSON path, byte offset (-1 if the reason is not about one
//     place), and the problem if the connector found it.
//   - drift.json lists the differences between the body and the vendor's schema, if there are any.
//
// `go test -update` writes them. Review them like code. Use the vendor's own bodies where they are known: the kit makes the
// broken and the unusual ones itself. Write one file for each trap, and name the file after the trap.
//
// # Rules
//
// Run then checks the connector's contract, with these webhooks and with many that it makes from them. A rule that fails
// prints its sentence. A webhook that breaks a rule is left out of the later rules, so that one fault is reported once:
//
//	facts         the name, the gateway
//	answer        the answer fits the RPCs
//	verification  the signature compiles, and no credential is stored
//	window        the window fits the vendor's delivery policy
//	samples       the testdata are embedded unchanged
//	coverage      each event has a webhook that becomes canonical events
//	pings         declared pings are shown by webhooks and are no events
//	normalized    Normalize makes JSON of almost JSON, and does not change JSON
//	complete      canonical events keep to the rules of proto/bridge/event/v1
//	bounded       a number of any size is within its schema's bounds
//	pure          Translate changes nothing, remembers nothing and reads no clock
//	source        currency and time zone are the webhook's, or the source's
//	errors        an error names the field
//	identity      different occurrences have different natural keys
//	unmapped      an event that is not in the schema is passed on
//	added         a field that the vendor adds changes no event
//	missing       any value may be missing, null or of another kind
//	mutated       any byte may be wrong
//	exact         money keeps every digit and its sign, texts keep every letter
//	understood    a text that is not understood is reported
//
// [Fuzz] tries any body. Bridge's own promises about a received webhook (decoding, secrets, redelivery, durability) are tested
// over all connectors by internal/ingress and internal/vendorjson.
//
// # Limits
//
// A reader of the expectations and of the vendor's page must check these:
//
//   - Whether a natural key is specific enough. An id alone is right for an event that happens once to a subject. For an event
//     that happens again it makes duplicates. The kit checks this only for types that end in ".changed" or ".updated".
//   - The unit of a number. Thousandths that are read as cents are as exact as cents.
//   - Where a currency comes from that neither webhook nor source spells out: a number for it, a symbol, or a vendor with only
//     one currency.
//   - Whether the sign of a discount is lost or removed: canonical discounts are positive amounts.
//   - Whether Delivery is complete. The kit compares the window with it.
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

// deadline is how long a rule may take: many times more than any rule needs.
const deadline = 2 * time.Minute

// Run tests the connector c. The testdata of the calling package are its webhooks. src is their source: it must have the values
// that the vendor leaves out, such as the currency.
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
				if err := k.checkExpectations(w); err != nil {
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

// inAnotherYear runs functions in a synctest bubble, whose clock starts in the year 2000.
func inAnotherYear(t *testing.T) func(f func()) {
	return func(f func()) { synctest.Test(t, func(*testing.T) { f() }) }
}

// within runs f with the deadline. If f does not return in time, within returns an error and f goes on in the background.
func within(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errors.New("does not end")
	}
}

// kit is a connector with its testdata. The rules check it.
type kit struct {
	*pipeline

	// folder holds the package's testdata.
	folder   fs.FS
	webhooks []sample.Webhook
	// documents of all webhooks that can be opened.
	documents []document
	// failed has the names of the samples that broke a rule.
	failed map[string]bool
	// inAnotherYear runs a function by another clock.
	inAnotherYear func(func())
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
	k := &kit{pipeline: p, folder: folder, webhooks: webhooks, failed: make(map[string]bool)}
	return k, within(func() error {
		for _, w := range webhooks {
			documents, _, _ := p.open(w)
			k.documents = append(k.documents, documents...)
		}
		return nil
	})
}

// fuzzMutations is how many more bodies [Fuzz] makes from each body of the fuzzer. The fuzzer's own work for a body, reading the
// coverage of the whole program, costs as much as a hundred translations.
const fuzzMutations = 32

// Fuzz gives the connector bodies that are made from testdata. No body causes a panic, Bridge can accept every event, and a field
// that is added to a body changes no event. One execution of the fuzzer tests 34 bodies.
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
		if err := k.fuzz(event, body); err != nil {
			t.Error(err)
		}
	})
}

// fuzz checks a body, and others that it makes from the body, always the same.
func (k *kit) fuzz(event string, body []byte) error {
	d := document{named: intake.Names{Path: event}, body: body}
	if err := k.checkTranslation(d); err != nil {
		return err
	}
	sum := crc32.ChecksumIEEE(body)
	if err := k.checkAddedOnce(d, k.run(d), sum); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, uint64(sum))) //nolint:gosec // nothing rests on its strength
	for range fuzzMutations {
		other := mutate(random, body)
		if err := k.checkTranslation(d.of(other)); err != nil {
			return fmt.Errorf("%q: %w", other, err)
		}
	}
	return nil
}

// checkTranslation checks that a document is translated without a panic, to events that Bridge can accept.
func (k *kit) checkTranslation(d document) error {
	r := k.runWith(d, func(m proto.Message) proto.Message { return m })
	if r.broken() {
		return r.fault
	}
	for _, e := range r.translation.Events {
		if err := checkAcceptable(e); err != nil {
			return err
		}
	}
	return checkDrift(r.translation)
}

// each calls check for every document whose sample broke no rule yet. The error names the documents that fail.
func (k *kit) each(check func(document) error) error {
	var errs []error
	for _, d := range k.documents {
		errs = append(errs, k.checkSample(d.name, func() error { return check(d) }))
	}
	return errors.Join(errs...)
}

// checkSample calls check for the sample or document with this name, unless the sample broke a rule already. It records a failure.
func (k *kit) checkSample(name string, check func() error) error {
	file, _, _ := strings.Cut(name, "[")
	if k.failed[file] {
		return nil
	}
	if err := check(); err != nil {
		k.failed[file] = true
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
