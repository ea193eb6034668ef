// Command scaffold begins a connector. It writes a vendor's schema, package, page and first webhook, and adds the package to the
// program. The files compile and pass the kit after the code has been generated from the schema, which `make connector` does.
// CONTRIBUTING.md describes the next steps.
//
//	go run ./tools/scaffold [-event order.created] acme
package main

import (
	"bytes"
	"embed"
	"errors"
	"flag"
	"fmt"
	"go/format"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/webhook-bridge/bridge/connectors/sample"
)

const module = "github.com/webhook-bridge/bridge"

//go:embed template/*.tmpl
var templates embed.FS

var (
	vendorName = regexp.MustCompile(`^[a-z][a-z0-9]{1,29}$`)
	eventName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*$`)
)

// vendor is the data of the templates.
type vendor struct {
	// Name is the connector's, Title and Upper the same in other cases.
	Name, Title, Upper string
	// Event is the vendor's own name for its event; Message and Func are its names in the schema and in Go; Sample is the
	// name of its webhook in testdata.
	Event, Message, Func, Sample string
	// Verb is what happened to the order, which is the made-up event's content: its canonical type is order.<Verb>.
	Verb   string
	Module string
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "scaffold:", err)
		}
		os.Exit(2)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("scaffold", flag.ContinueOnError)
	event := flags.String("event", "order.created", "the vendor's own `name` for its first event")
	root := flags.String("root", ".", "`folder` of the repository")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("takes the connector's name: make connector NAME=acme")
	}
	v, err := newVendor(flags.Arg(0), *event)
	if err != nil {
		return err
	}
	files, err := v.files()
	if err != nil {
		return err
	}
	plugins := filepath.Join(*root, "cmd/bridge/plugins.go")
	if other, err := isDeclared(filepath.Dir(plugins), v.Name); err != nil {
		return err
	} else if other {
		return fmt.Errorf("the program has a %s already: choose another name", v.Name)
	}
	source, err := os.ReadFile(plugins)
	if err != nil {
		return err
	}
	if source, err = plug(source, v.Name); err != nil {
		return fmt.Errorf("%s: %w", plugins, err)
	}
	for _, folder := range []string{"connectors/" + v.Name, "proto/webhooks/" + v.Name} {
		if _, err := os.Lstat(filepath.Join(*root, folder)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already", folder)
		}
	}
	for _, f := range files {
		to := filepath.Join(*root, f.path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // Sources are for everyone to read.
			return err
		}
		if err := os.WriteFile(to, f.data, 0o644); err != nil { //nolint:gosec // Sources are for everyone to read.
			return err
		}
		fmt.Fprintln(stdout, f.path)
	}
	fmt.Fprintln(stdout, "cmd/bridge/plugins.go")
	return os.WriteFile(plugins, source, 0o644) //nolint:gosec // Sources are for everyone to read.
}

// newVendor checks the names, which become folders, packages and identifiers.
func newVendor(name, event string) (vendor, error) {
	switch {
	case !vendorName.MatchString(name):
		return vendor{}, fmt.Errorf("%q is no name for a connector: one word of a to z and digits, such as acme", name)
	case token.IsKeyword(name), types.Universe.Lookup(name) != nil, slices.Contains(reserved, name):
		return vendor{}, fmt.Errorf("%q is a name that Go reserves", name)
	case name == "event":
		return vendor{}, fmt.Errorf("%q is the name of the canonical events: choose another name", name)
	case !eventName.MatchString(event):
		return vendor{}, fmt.Errorf("%q is no name for an event: letters and digits, with . _ or - between them", event)
	}
	v := vendor{
		Name: name, Title: title(name), Upper: strings.ToUpper(name),
		Event: event, Verb: verbOf(event), Sample: sample.NameFor(event), Module: module,
	}
	for word := range strings.SplitSeq(v.Sample, "_") {
		v.Message += title(word)
	}
	switch service := v.Title + "WebhookService"; {
	case v.Message == "Receipt":
		return vendor{}, errors.New("the answer is called Receipt; call the event something else")
	case strings.Contains(v.Message, service):
		return vendor{}, fmt.Errorf("the service is called %s; call the event something else", service)
	}
	v.Func = "translate" + v.Message
	return v, nil
}

var lastWord = regexp.MustCompile(`[A-Z]?[a-z]+$`)

// verbOf returns the verb that an event's name ends with, such as "created" of order.created and of orderCreated, and "changed" for a
// name that ends with no verb in the past tense.
func verbOf(event string) string {
	word := strings.ToLower(lastWord.FindString(event))
	if strings.HasSuffix(word, "ed") || word == "paid" || word == "sent" {
		return word
	}
	return "changed"
}

// reserved are names that are not keywords, but cannot be names of imported packages.
var reserved = []string{"init", "internal", "main", "testdata", "vendor"}

func title(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// file is one file to write.
type file struct {
	path string
	data []byte
}

// files renders the templates.
func (v vendor) files() ([]file, error) {
	t, err := template.New("").Delims("<<", ">>").Option("missingkey=error").ParseFS(templates, "template/*.tmpl")
	if err != nil {
		return nil, err
	}
	connector := "connectors/" + v.Name + "/"
	files := []file{
		{path: "proto/webhooks/" + v.Name + "/v1/" + v.Name + ".proto"},
		{path: connector + v.Name + ".go"},
		{path: connector + "translate.go"},
		{path: connector + v.Name + "_test.go"},
		{path: connector + "README.md"},
		{path: connector + "testdata/" + v.Sample + ".txtar"},
	}
	for i, name := range []string{"proto", "connector.go", "translate.go", "test.go", "README.md", "sample.txtar"} {
		var b bytes.Buffer
		if err := t.ExecuteTemplate(&b, name+".tmpl", v); err != nil {
			return nil, err
		}
		files[i].data = b.Bytes()
		if path.Ext(files[i].path) != ".go" {
			continue
		}
		// Where an import belongs depends on the name.
		if files[i].data, err = format.Source(b.Bytes()); err != nil {
			return nil, err
		}
	}
	return files, nil
}
