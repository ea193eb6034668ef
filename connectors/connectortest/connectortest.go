// Package connectortest judges a connector. A connector's test is one line:
//
//	func TestConnector(t *testing.T) {
//		connectortest.Run(t, acme.New(), connectors.Source{Name: "shop", Currency: "EUR", Zone: time.UTC})
//	}
//
// Run reads every file testdata/*.txtar of the package under test; each holds one webhook and what must become of it:
//
//	What this webhook shows, in a sentence or two. Not optional.
//	-- event --
//	paymentCreated
//	-- body.json --
//	{"ID": "…"}
//	-- events.json --
//	{ … }
//
// The files in that order:
//
//   - event, only if the URL names the event: the name, on one line.
//   - body.json is the body byte for byte, less the newline with which this format ends every file. Broken text is as
//     welcome as JSON.
//   - events.json is the key and the canonical events, without what Bridge fills in (ids, source, times of receipt); or
//   - quarantine.json says why the webhook was refused instead: reason, JSON path, byte offset (-1 if it is not about one
//     place), and the problem if the connector found it.
//   - drift.json lists what the body holds beyond what the vendor's message declares; only if there is any.
//
// The last three are written by `go test -update`, and reviewed like code.
//
// Besides comparing these, Run holds the connector to the rules of its contract, and tries broken variants of each body.
// [Fuzz] tries any body.
package connectortest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/webhook-bridge/bridge/connectors"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// Run tests the connector c on behalf of a package whose testdata holds its webhooks. src is the source that they are
// taken to come from; what the vendor leaves out, such as the currency, must be set there.
func Run(t *testing.T, c *connectors.Connector, src connectors.Source) {
	t.Helper()
	p, err := newPipeline(c, src)
	if err != nil {
		t.Fatal(err)
	}
	archives := readArchives(t)
	t.Run("webhooks", func(t *testing.T) {
		for _, a := range archives {
			t.Run(a.name, func(t *testing.T) { golden(t, p, a) })
		}
	})
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if err := r.check(p, archives); err != nil {
				t.Errorf("%v\nThe contract: %s", err, r.contract)
			}
		})
	}
}

// Fuzz feeds the connector bodies made of those in testdata: whatever comes in, nothing panics, and every event is one that
// Bridge can take.
func Fuzz(f *testing.F, c *connectors.Connector, src connectors.Source) {
	f.Helper()
	p, err := newPipeline(c, src)
	if err != nil {
		f.Fatal(err)
	}
	for _, a := range readArchives(f) {
		f.Add(a.event, a.body)
	}
	f.Fuzz(func(t *testing.T, inURL string, body []byte) {
		r := p.run(inURL, body)
		if err := sound(r); err != nil {
			t.Error(err)
		}
	})
}

func readArchives(tb testing.TB) []archive {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		tb.Fatal(err)
	}
	var archives []archive
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		a, err := parseArchive(file, data)
		if err != nil {
			tb.Fatal(err)
		}
		archives = append(archives, a)
	}
	return archives
}

func golden(t *testing.T, p *pipeline, a archive) {
	t.Helper()
	got, err := expectations(p.run(a.event, a.body))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := a.write(got); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(lines(a.expected), lines(got)); diff != "" {
		t.Errorf("%s: differs from what is expected; -update rewrites it (-want +got):\n%s", a.file, diff)
	}
}

func lines(files []txtar.File) []string {
	return strings.Split(string(txtar.Format(&txtar.Archive{Files: files})), "\n")
}
