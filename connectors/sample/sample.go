// Package sample reads the testdata of connectors: one webhook a file, with the expected result. Package connectortest checks
// connectors with it, and the simulator sends its webhooks. A file is a txtar archive:
//
//	What this webhook shows, in a sentence or two. Not optional.
//	-- event --
//	paymentCreated
//	-- header --
//	X-Acme-Delivery: 7d1f
//	-- body.json --
//	{"ID": "…"}
//	-- events.json --
//	{ … }
//
// The files in that order:
//
//   - event, only if the URL names the event: the name, on one line.
//   - header, only if headers matter, such as headers with the event's name or the webhook's id: "Name: value" lines. There are no
//     credentials in it.
//   - body.json or body.form is the body byte for byte, less the newline with which the format ends every file. It need
//     not be valid JSON or a valid form.
//   - events.json, quarantine.json, ping.json and drift.json are the expected result. Package connectortest writes and documents them.
package sample

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/textproto"
	"path"
	"strings"

	"golang.org/x/tools/txtar"
)

// Pattern matches the files that are samples, in a connector's folder and in its Samples.
const Pattern = "testdata/*.txtar"

// Content types of bodies.
const (
	JSON = "application/json"
	Form = "application/x-www-form-urlencoded"
)

// Webhook is one sample.
type Webhook struct {
	// Name is the file's, without folder and ending.
	Name string
	// Comment describes what the webhook shows.
	Comment string
	// Event is the name in the URL, if any.
	Event string
	// Header as the vendor sends it, under canonical names; nil if nothing but ContentType matters. It may be used as an
	// http.Header.
	Header map[string][]string
	// ContentType is the header's or, without it, follows from the name of the body's file.
	ContentType string
	// Body as it comes over the wire.
	Body []byte
	// Broken means that the webhook is quarantined as a whole.
	Broken bool
	// Ping means that the webhook tells no fact.
	Ping bool
	// Expected has the files with the expected result, in their order in the archive.
	Expected []Expectation
}

// Expectation is one of events.json, quarantine.json, ping.json and drift.json.
type Expectation struct {
	Name string
	Data []byte
}

// CanonicalEvents returns the events that the webhook becomes, as [Events] has them: bridge.event.v1.Event in protobuf's JSON form,
// without the fields that Bridge sets. There are none if no events are expected.
func (w Webhook) CanonicalEvents() ([]json.RawMessage, error) {
	for _, e := range w.Expected {
		if e.Name != Events {
			continue
		}
		var becomes struct{ Events []json.RawMessage }
		if err := json.Unmarshal(e.Data, &becomes); err != nil {
			return nil, fmt.Errorf("sample: %s: %s: %w", w.Name, Events, err)
		}
		return becomes.Events, nil
	}
	return nil, nil
}

// Names of files.
const (
	fileEvent  = "event"
	fileHeader = "header"
	fileJSON   = "body.json"
	fileForm   = "body.form"

	// Events is the file of the canonical events, Quarantine that of why there are none, Drift that of what the vendor's message
	// does not declare, Ping that of the name of a ping.
	Events     = "events.json"
	Ping       = "ping.json"
	Quarantine = "quarantine.json"
	Drift      = "drift.json"
)

const contentType = "Content-Type"

// Read returns the samples in fsys that match [Pattern], in the order of their names. The error names every file that is
// none.
func Read(fsys fs.FS) ([]Webhook, error) {
	files, err := fs.Glob(fsys, Pattern)
	if err != nil {
		return nil, fmt.Errorf("sample: list: %w", err)
	}
	webhooks := make([]Webhook, 0, len(files))
	var problems []error
	for _, file := range files {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			problems = append(problems, fmt.Errorf("sample: %w", err))
			continue
		}
		w, err := Parse(file, data)
		problems = append(problems, err)
		webhooks = append(webhooks, w)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return webhooks, nil
}

// Parse reads one file. The result may share memory with data.
func Parse(file string, data []byte) (Webhook, error) {
	tx := txtar.Parse(data)
	w := Webhook{Name: strings.TrimSuffix(path.Base(file), ".txtar"), Comment: string(tx.Comment)}
	problems := []error{}
	fail := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("sample: "+file+": "+format, args...))
	}
	if strings.TrimSpace(w.Comment) == "" {
		fail("does not say what it shows")
	}
	bodies := 0
	for _, f := range tx.Files {
		switch f.Name {
		case fileEvent:
			w.Event = strings.TrimSpace(string(f.Data))
		case fileHeader:
			var err error
			if w.Header, err = parseHeader(f.Data); err != nil {
				fail("%w", err)
			}
		case fileJSON, fileForm:
			bodies++
			w.Body, w.ContentType = bytes.TrimSuffix(f.Data, []byte("\n")), typeOf(f.Name)
		case Events, Quarantine, Drift, Ping:
			w.Broken, w.Ping = w.Broken || f.Name == Quarantine, w.Ping || f.Name == Ping
			w.Expected = append(w.Expected, Expectation{f.Name, f.Data})
		default:
			fail("has an unknown file %q", f.Name)
		}
	}
	if bodies != 1 {
		fail("has %d bodies, not one", bodies)
	}
	if v := w.Header[contentType]; len(v) > 0 {
		w.ContentType = v[0]
	}
	return w, errors.Join(problems...)
}

func typeOf(body string) string {
	if body == fileForm {
		return Form
	}
	return JSON
}

func parseHeader(data []byte) (map[string][]string, error) {
	header := make(map[string][]string)
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("has the header line %q, which is no \"Name: value\"", line)
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		header[name] = append(header[name], strings.TrimSpace(value))
	}
	return header, nil
}

// Rewrite returns data, a sample's file, with other expectations. The rest of the file stays the same.
func Rewrite(data []byte, expected []Expectation) []byte {
	tx := txtar.Parse(data)
	kept := tx.Files[:0]
	for _, f := range tx.Files {
		if f.Name != Events && f.Name != Quarantine && f.Name != Drift && f.Name != Ping {
			kept = append(kept, f)
		}
	}
	tx.Files = kept
	for _, e := range expected {
		tx.Files = append(tx.Files, txtar.File(e))
	}
	return txtar.Format(tx)
}
