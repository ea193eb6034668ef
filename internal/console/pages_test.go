package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/webhook-bridge/bridge/internal/console"
)

// TestPages: each page can be read with a screen reader, used with a keyboard, and loads nothing from elsewhere. A page of the table in pages.go
// without a line here fails the test.
func TestPages(t *testing.T) {
	r := startRig(t, false)
	r.seed()
	all := r.get("/console/webhooks")
	if n := len(all.webhooks()); n != 4 {
		t.Fatalf("%d webhooks are listed:\n%s", n, all.text)
	}
	checks := []struct {
		// pattern is the page's in the table.
		pattern string
		get     func() page
		// has are texts of the page.
		has []string
	}{
		{"GET {$}", func() page { return r.get("/console/") }, []string{"returns", "archive", "Replicas", "<svg"}},
		{"GET webhooks", func() page { return r.get("/console/webhooks?outcome=quarantined&source=returns") }, []string{"2 found"}},
		{"POST webhooks", func() page { return r.submit("/console/webhooks", url.Values{"text": {"4713"}}) }, []string{"1 found"}},
		{"GET webhooks/{id}", func() page { return r.get(all.webhooks()[3]) }, []string{"shipping.ordered", "archive", "position 1"}},
		{"POST webhooks/{id}", func() page { return r.submit(all.webhooks()[1], nil) }, []string{"jdoe@example.com", "<mark", "malformed json"}},
		{"GET quarantine", func() page { return r.get("/console/quarantine") }, []string{"malformed json", "untranslatable", "2 in all"}},
		{"POST quarantine/retry", func() page { return r.submit("/console/quarantine/retry", url.Values{"reason": {"untranslatable"}}) }, []string{"0 of 1 webhooks", "Nothing has changed"}},
		{"POST webhooks/{id}/repair", func() page { return r.submit(all.webhooks()[1]+"/repair", url.Values{"body": {ordered}}) }, []string{"can be translated", "<del>", "<ins>"}},
		{"missing", func() page { return r.get("/console/none") }, []string{"There is no such page"}},
	}
	var covered []string
	for _, c := range checks {
		t.Run(c.pattern, func(t *testing.T) {
			p := c.get()
			for _, text := range c.has {
				if !strings.Contains(p.text, text) {
					t.Errorf("the page lacks %q:\n%s", text, p.text)
				}
			}
			checkHeaders(t, p)
			checkHTML(t, p.text)
		})
		covered = append(covered, c.pattern)
	}
	for _, pattern := range console.Patterns() {
		if !slices.Contains(covered, pattern) {
			t.Errorf("no check for the page %s", pattern)
		}
	}
}

func checkHeaders(t *testing.T, p page) {
	t.Helper()
	csp := p.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") || p.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", p.header)
	}
}

// checkHTML checks what can be seen of a page's accessibility and of its policy in its text.
func checkHTML(t *testing.T, text string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{T: t, ids: map[string]bool{}, labels: map[string]bool{}}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			d.collect(n)
		}
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			d.check(n)
		}
	}
	if d.headings[1] != 1 || d.count["main"] != 1 || d.count["title"] != 1 {
		t.Errorf("%d headings of the first level, %d main, %d title", d.headings[1], d.count["main"], d.count["title"])
	}
}

// document is a page that is checked.
type document struct {
	*testing.T

	ids, labels map[string]bool
	headings    [7]int
	last        int
	count       map[string]int
}

func (d *document) collect(n *html.Node) {
	if id := attr(n, "id"); id != "" {
		if d.ids[id] {
			d.Errorf("two elements have the id %s", id)
		}
		d.ids[id] = true
	}
	if n.Data == "label" {
		d.labels[attr(n, "for")] = true
	}
	if d.count == nil {
		d.count = map[string]int{}
	}
	d.count[n.Data]++
}

func (d *document) check(n *html.Node) {
	switch n.Data {
	case "html":
		if attr(n, "lang") == "" {
			d.Error("the page names no language")
		}
	case "h1", "h2", "h3", "h4":
		level := int(n.Data[1] - '0')
		if level > d.last+1 {
			d.Errorf("a heading of level %d follows one of level %d", level, d.last)
		}
		d.last = level
		d.headings[level]++
	case "input", "select", "textarea":
		if attr(n, "type") != "hidden" && !d.labels[attr(n, "id")] && attr(n, "aria-label") == "" {
			d.Errorf("the field %s has no label", attr(n, "name"))
		}
	case "script":
		if n.FirstChild != nil || attr(n, "src") == "" {
			d.Error("a script is inline")
		}
	case "style":
		d.Error("a style is inline")
	case "th":
		if attr(n, "scope") == "" {
			d.Error("a header of a table has no scope")
		}
	case "table":
		if !slices.ContainsFunc(slices.Collect(n.ChildNodes()), func(c *html.Node) bool { return c.Data == "caption" || attr(n, "hidden") == "" && has(n, "hidden") }) {
			d.Error("a table has no caption")
		}
	case "img":
		if !has(n, "alt") {
			d.Error("a picture has no text")
		}
	case "svg":
		if attr(n, "aria-label") == "" {
			d.Error("a drawing has no label")
		}
	case "button", "a", "summary":
		if strings.TrimSpace(textOf(n)) == "" {
			d.Errorf("a %s has no text", n.Data)
		}
	}
	for _, a := range n.Attr {
		d.checkAttr(n, a)
	}
}

func (d *document) checkAttr(n *html.Node, a html.Attribute) {
	switch a.Key {
	case "style":
		d.Errorf("the style of %s is inline", n.Data)
	case "href", "src", "action", "hx-get", "hx-post":
		if !strings.HasPrefix(a.Val, "/console/") && !strings.HasPrefix(a.Val, "#") {
			d.Errorf("%s of %s leads to %s", a.Key, n.Data, a.Val)
		}
	case "aria-labelledby", "aria-describedby":
		if !d.ids[a.Val] {
			d.Errorf("%s names %s, which is not there", a.Key, a.Val)
		}
	}
	if strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") {
		d.Errorf("a script is inline: %s", a.Key)
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
		if c.Type == html.ElementNode {
			b.WriteString(attr(c, "alt"))
		}
	}
	return b.String()
}

// TestHostile: whatever a sender writes is text on each page, and a large body is shown in part.
func TestHostile(t *testing.T) {
	r := startRig(t, false)
	const evil = `</code><script>alert(1)</script><img src=x onerror=alert(1)>`
	r.post("returns", `{"event_type":"shipping.ordered","created_at":"`+evil+`","shipping":{"id":"`+evil+`"}}`)
	r.post("returns?x="+url.QueryEscape(evil), "{\"event_type\":\""+evil+"\",\"\u202e\x00\":\"\xff\xfe\"}")
	r.post("returns", `{"event_type":"shipping.ordered","`+strings.Repeat(`a":{"`, 100)+`b":"`+strings.Repeat("x", 900<<10)+`"`)
	list := r.get("/console/webhooks")
	paths := list.webhooks()
	if len(paths) != 3 {
		t.Fatalf("%d webhooks", len(paths))
	}
	pages := []page{list, r.submit("/console/webhooks", url.Values{"text": {evil}, "subject": {""}}), r.get("/console/webhooks?source=" + url.QueryEscape(evil))}
	for _, path := range paths {
		pages = append(pages, r.get(path), r.submit(path, nil))
	}
	for i, p := range pages {
		if strings.Contains(p.text, "<script>") || strings.Contains(p.text, "<img src=x") || strings.ContainsRune(p.text, '\u202e') || strings.ContainsRune(p.text, 0) {
			t.Errorf("page %d has the sender's text as it is", i)
		}
		if len(p.text) > 1<<20 {
			t.Errorf("page %d has %d bytes", i, len(p.text))
		}
		checkHTML(t, p.text)
	}
	if !strings.Contains(pages[3].text, "Only a part of its 901 KiB") || !strings.Contains(pages[4].text, "Only a part of its 901 KiB") {
		t.Error("a large body is not said to be cut")
	}
}

// TestSearch: each field of the form selects, in the URL or, where it may be personal, without it.
func TestSearch(t *testing.T) {
	r := startRig(t, false)
	r.seed()
	for _, c := range []struct {
		fields url.Values
		want   int
		path   string
	}{
		{url.Values{}, 4, "/console/webhooks"},
		{url.Values{"source": {"returns"}, "outcome": {"accepted"}}, 2, "/console/webhooks?outcome=accepted&source=returns"},
		{url.Values{"source": {"loyalty"}}, 0, "/console/webhooks?source=loyalty"},
		{url.Values{"event": {"shipping.ordered"}, "outcome": {"quarantined"}}, 2, "/console/webhooks?event=shipping.ordered&outcome=quarantined"},
		{url.Values{"reason": {"untranslatable"}}, 1, "/console/webhooks?reason=untranslatable"},
		{url.Values{"since": {"2020-01-01T00:00"}, "until": {"2020-01-02T00:00"}}, 0, "/console/webhooks?since=2020-01-01T00%3A00&until=2020-01-02T00%3A00"},
		{url.Values{"text": {"jdoe@example.com"}}, 1, "/console/webhooks"},
		{url.Values{"subject": {"shipment/4711"}}, 1, "/console/webhooks"},
		{url.Values{"subject": {"shipment/4711"}, "source": {"loyalty"}}, 0, "/console/webhooks"},
		{url.Values{"subject": {"shipment/none"}, "text": {"4711"}}, 0, "/console/webhooks"},
	} {
		p := r.submit("/console/webhooks", c.fields)
		if n := len(p.webhooks()); p.status != http.StatusOK || n != c.want || p.path != c.path {
			t.Errorf("%v: %d webhooks, not %d; status %d at %s", c.fields, n, c.want, p.status, p.path)
		}
	}
	for _, bad := range []string{"since=yesterday", "outcome=none", "token=x", "source=retunrs"} {
		if p := r.get("/console/webhooks?" + bad); p.status < 400 || p.status >= 500 || !strings.Contains(p.text, `role="alert"`) {
			t.Errorf("%s is answered %d", bad, p.status)
		}
	}
}

// TestOlder: a list goes on where a page ended, until the oldest, by links and by forms.
func TestOlder(t *testing.T) {
	r := startRig(t, false)
	const n = 120
	for i := range n {
		r.post("returns", fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"%d-one"}}`, i))
	}
	seen := map[string]bool{}
	p := r.get("/console/webhooks")
	for range 4 {
		for _, path := range p.webhooks() {
			seen[path] = true
		}
		next := hiddenOrLink(t, p.text)
		if next == nil {
			break
		}
		p = r.get("/console/webhooks?" + next.Encode())
	}
	if len(seen) != n {
		t.Errorf("the links led to %d of %d webhooks", len(seen), n)
	}
	clear(seen)
	p = r.submit("/console/webhooks", url.Values{"text": {"-one"}})
	for range 4 {
		for _, path := range p.webhooks() {
			seen[path] = true
		}
		next := hiddenOrLink(t, p.text)
		if next == nil {
			break
		}
		p = r.submit("/console/webhooks", next)
	}
	if len(seen) != n {
		t.Errorf("the forms led to %d of %d webhooks", len(seen), n)
	}
}

// hiddenOrLink returns the fields with which a list goes on, or nil.
func hiddenOrLink(t *testing.T, text string) url.Values {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if attr(n, "id") != "go-on" {
			continue
		}
		if n.Data == "a" {
			u, err := url.Parse(attr(n, "href"))
			if err != nil {
				t.Fatal(err)
			}
			return u.Query()
		}
		fields := url.Values{}
		for input := range n.Parent.Descendants() {
			if input.Data == "input" {
				fields.Set(attr(input, "name"), attr(input, "value"))
			}
		}
		return fields
	}
	return nil
}
