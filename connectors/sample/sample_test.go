package sample_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors/sample"
)

func TestParse(t *testing.T) {
	const file = "What it shows.\n-- event --\nclose\n" +
		"-- header --\nX-Acme-Id: 7:d1f\nx-acme-id:  8\n\n" +
		"-- body.json --\n{\n}\n-- events.json --\n[]\n"
	got, err := sample.Parse("testdata/close.txtar", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := sample.Webhook{
		Name: "close", Comment: "What it shows.\n", Event: "close",
		Header:      map[string][]string{"X-Acme-Id": {"7:d1f", "8"}},
		ContentType: sample.JSON,
		Body:        []byte("{\n}"),
		Expected:    []sample.Expectation{{Name: "events.json", Data: []byte("[]\n")}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestContentType(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"x\n-- body.form --\npayload=%7B%7D\n", sample.Form},
		{"x\n-- body.json --\n{}\n", sample.JSON},
		{"x\n-- header --\ncontent-type: text/plain\n-- body.json --\n{}\n", "text/plain"},
	} {
		w, err := sample.Parse("x.txtar", []byte(tt.file))
		if err != nil || w.ContentType != tt.want {
			t.Errorf("%q has the content type %q, %v", tt.file, w.ContentType, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"-- body.json --\n{}\n", "does not say"},
		{"What it shows.\n-- event --\nclose\n", "0 bodies"},
		{"What it shows.\n-- body.json --\n{}\n-- body.form --\na=b\n", "2 bodies"},
		{"What it shows.\n-- body.json --\n{}\n-- event.json --\n{}\n", `"event.json"`},
		{"What it shows.\n-- header --\nX-Acme\n-- body.json --\n{}\n", `"X-Acme"`},
		{"What it shows.\n-- header --\nX Acme: 1\n-- body.json --\n{}\n", `"X Acme: 1"`},
		{"What it shows.\n-- header --\n: 1\n-- body.json --\n{}\n", `": 1"`},
	} {
		_, err := sample.Parse("bad.txtar", []byte(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v", tt.file, err)
		}
	}
}

func TestRead(t *testing.T) {
	fsys := fstest.MapFS{
		"testdata/b.txtar":       {Data: []byte("b\n-- body.json --\n{}\n-- quarantine.json --\n{}\n")},
		"testdata/a.txtar":       {Data: []byte("a\n-- body.json --\n{}\n")},
		"testdata/other.json":    {Data: []byte("{}")},
		"testdata/sub/c.txtar":   {Data: []byte("c\n-- body.json --\n{}\n")},
		"elsewhere/broken.txtar": {Data: []byte("broken")},
	}
	got, err := sample.Read(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "a" || got[0].Broken || got[1].Name != "b" || !got[1].Broken {
		t.Errorf("got %+v", got)
	}
	fsys["testdata/bad.txtar"] = &fstest.MapFile{Data: []byte("bad\n")}
	fsys["testdata/worse.txtar"] = &fstest.MapFile{Data: []byte("worse\n")}
	_, err = sample.Read(fsys)
	if err == nil || !strings.Contains(err.Error(), "testdata/bad.txtar") || !strings.Contains(err.Error(), "testdata/worse.txtar") {
		t.Errorf("error %v", err)
	}
}

func TestRewriteKeepsTheWebhook(t *testing.T) {
	const webhook = "What it shows.\n-- event --\nclose\n-- header --\nX-Id: 1\n-- body.json --\n{\n\xff \u00a0}\n"
	const expected = "-- quarantine.json --\n{}\n"
	got := sample.Rewrite([]byte(webhook+"-- events.json --\n[]\n-- drift.json --\n[]\n"),
		[]sample.Expectation{{Name: sample.Quarantine, Data: []byte("{}\n")}})
	if diff := cmp.Diff(webhook+expected, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
