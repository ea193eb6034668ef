package main

import (
	"bytes"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors/sample"
)

// repository returns a folder with a program's list of connectors.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	source, err := os.ReadFile("testdata/plugins.go")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "cmd/bridge/plugins.go"), source)
	return root
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// filesIn returns the files below root by their paths.
func filesIn(t *testing.T, root string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What the skeleton does once it is generated, `make connector` shows in .ci/run; here it is written whole and in form.
func TestSkeleton(t *testing.T) {
	root := repository(t)
	var out bytes.Buffer
	if err := run([]string{"-root", root, "-event", "invoice.paid", "acme"}, &out); err != nil {
		t.Fatal(err)
	}
	files := filesIn(t, root)
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	want := []string{
		"cmd/bridge/plugins.go", "connectors/acme/README.md", "connectors/acme/acme.go", "connectors/acme/acme_test.go",
		"connectors/acme/testdata/invoice_paid.txtar", "connectors/acme/translate.go", "proto/webhooks/acme/v1/acme.proto",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if listed := strings.Fields(out.String()); len(listed) != len(want) {
		t.Errorf("lists %q", listed)
	}
	for path, data := range files {
		if bytes.Contains(data, []byte("<<")) || bytes.Contains(data, []byte("no value")) {
			t.Errorf("%s is not filled in:\n%s", path, data)
		}
		if filepath.Ext(path) != ".go" {
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), path, data, parser.AllErrors); err != nil {
			t.Error(err)
		}
		if formatted, err := format.Source(data); err != nil || !bytes.Equal(formatted, data) {
			t.Errorf("%s is not formatted: %v", path, err)
		}
	}
	plugins := string(files["cmd/bridge/plugins.go"])
	if !strings.Contains(plugins, "\t\tacme.New(),\n\t\tdealpos.New(),") ||
		!strings.Contains(plugins, "bridge/connectors/acme\"\n\t\"github.com/webhook-bridge/bridge/connectors/dealpos\"") {
		t.Errorf("acme is not in its place:\n%s", plugins)
	}
	samples, err := sample.Read(os.DirFS(filepath.Join(root, "connectors/acme")))
	if err != nil || len(samples) != 1 || samples[0].Name != sample.NameFor("invoice.paid") {
		t.Errorf("samples %+v, %v", samples, err)
	}
	before := filesIn(t, root)
	if err := run([]string{"-root", root, "acme"}, &out); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("began acme twice: %v", err)
	}
	if diff := cmp.Diff(before, filesIn(t, root)); diff != "" {
		t.Errorf("the refused run wrote (-before +after):\n%s", diff)
	}
}

func TestRefuses(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "takes the connector's name"},
		{[]string{"acme", "too"}, "takes the connector's name"},
		{[]string{""}, "no name for a connector"},
		{[]string{"Acme"}, "no name for a connector"},
		{[]string{"7up"}, "no name for a connector"},
		{[]string{"../evil"}, "no name for a connector"},
		{[]string{"range"}, "that Go reserves"},
		{[]string{"vendor"}, "that Go reserves"},
		{[]string{"init"}, "that Go reserves"},
		{[]string{"string"}, "that Go reserves"},
		{[]string{"event"}, "choose another name"},
		{[]string{"retino"}, "already"},
		{[]string{"kafka"}, "already"},
		{[]string{"context"}, "already"},
		{[]string{"open"}, "already"},
		{[]string{"another"}, "already"},
		{[]string{"thing"}, "already"},
		{[]string{"all"}, "already"},
		{[]string{"sample"}, "already"},
		{[]string{"-event", "a/b", "acme"}, "no name for an event"},
		{[]string{"-event", "", "acme"}, "no name for an event"},
		{[]string{"-event", "receipt", "acme"}, "call the event something else"},
		{[]string{"-event", "acmeWebhookService", "acme"}, "call the event something else"},
	} {
		root := repository(t)
		put(t, filepath.Join(root, "connectors/sample/sample.go"), nil)
		before := filesIn(t, root)
		err := run(append([]string{"-root", root}, test.args...), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %s", test.args, err, test.want)
		}
		if diff := cmp.Diff(before, filesIn(t, root)); diff != "" {
			t.Errorf("%q wrote (-before +after):\n%s", test.args, diff)
		}
	}
}

// An event has the vendor's name, also when the name means something else in Go; its function has a unique name.
func TestEventsNamedLikeGo(t *testing.T) {
	for _, event := range []string{"error", "init", "connectors", "embed", "context", "runtime", "grpc", "translate", "samples", "type", "string", "new", "m"} {
		v, err := newVendor("acme", event)
		if err != nil {
			t.Fatal(err)
		}
		if want := "translate" + strings.ToUpper(event[:1]) + event[1:]; v.Func != want {
			t.Errorf("%s: %s, want %s", event, v.Func, want)
		}
	}
}

func TestPlug(t *testing.T) {
	source, err := os.ReadFile("testdata/plugins.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, after := range map[string]string{"acme": "", "lingua": "linga", "zeta": "retino"} {
		got, err := plug(source, name)
		if err != nil {
			t.Fatal(err)
		}
		if want := after + ".New(),\n\t\t" + name + ".New(),"; after != "" && !strings.Contains(string(got), want) {
			t.Errorf("%s does not follow %s:\n%s", name, after, got)
		}
		if n := strings.Count(string(got), "\n") - strings.Count(string(source), "\n"); n != 2 {
			t.Errorf("%s: %d lines more", name, n)
		}
	}
	if _, err := plug([]byte("package main\n"), "acme"); err == nil {
		t.Error("a program without a list of connectors was added to")
	}
}

// The real list has the form that is looked for.
func TestPlugTheProgram(t *testing.T) {
	const name = "nobodyscallsaconnectorthis"
	source, err := os.ReadFile("../../cmd/bridge/plugins.go")
	if err != nil {
		t.Fatal(err)
	}
	got, err := plug(source, name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(got), name); n != 2 {
		t.Errorf("%s is there %d times", name, n)
	}
	for name, want := range map[string]bool{"plugins": true, "retino": true, "method": false, name: false} {
		if got, err := isDeclared("../../cmd/bridge", name); err != nil || got != want {
			t.Errorf("%s is declared: %t, %v", name, got, err)
		}
	}
}

// TestVerb: the type of the canonical event says what the vendor's event says.
func TestVerb(t *testing.T) {
	for event, want := range map[string]string{
		"order.created": "created", "orderCreated": "created", "invoice.paid": "paid", "order_refunded": "refunded", "ORDER.SENT": "changed",
		"orders": "changed", "close": "changed", "shipping-ordered": "ordered",
	} {
		v, err := newVendor("acme", event)
		if err != nil {
			t.Fatal(err)
		}
		if v.Verb != want {
			t.Errorf("%s: %q, want %q", event, v.Verb, want)
		}
		files, err := v.files()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f.path, "translate.go") && !bytes.Contains(f.data, []byte(`"order.`+want+`"`)) {
				t.Errorf("%s: %s lacks the type order.%s", event, f.path, want)
			}
		}
	}
}
