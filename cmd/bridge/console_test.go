package main

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axe checks a page's accessibility: testdata/axe/README.md.
//
//go:embed testdata/axe/axe.min.js
var axe string

// picturesEnv names a folder for the pictures of the console's pages.
const picturesEnv = "BRIDGE_TEST_PICTURES"

const (
	consoleToken  = "operators-token-0123"
	consoleSecret = "vendors-secret-01234"
)

func consoleConfig(dir string) string {
	return `
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: ` + filepath.Join(dir, "data") + `, min_free: 1Mi}
access: {admin_tokens: [` + consoleToken + `]}
sources:
  - {name: returns, connector: retino, auth: {header: {name: X-Secret, values: [` + consoleSecret + `]}}}
  - {name: loyalty, connector: openloyalty, currency: EUR, auth: {none: {}}}
sinks:
  - {name: archive, file: {path: ` + filepath.Join(dir, "out") + `}}
`
}

// step is one thing that an operator does in the browser.
type step = chromedp.Action[chromedp.Void]

func visit(url string) step { return chromedp.Navigate(url) }

func click(selector string) step { return chromedp.Click(chromedp.CSS(selector)) }

func write(selector, text string) step { return chromedp.SendKeys(chromedp.CSS(selector), text) }

func visible(selector string) step { return chromedp.WaitVisible(chromedp.CSS(selector)) }

func gone(selector string) step { return chromedp.WaitNotPresent(chromedp.CSS(selector)) }

// script runs a script in the page.
func script(text string) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[any](text+"; 0")(ctx, t)
		return err
	})
}

// consolePage is a page that the walk looks at.
type consolePage struct {
	// name is that of the pictures.
	name string
	// open leads there from the page before.
	open []step
	// ready is a selector that the page matches when it is complete.
	ready string
}

// consolePages are the pages in the order of the walk. Each is checked for accessibility, in light and dark, wide and narrow.
func consolePages(base string) []consolePage {
	return []consolePage{
		{"sign-in", []step{visit(base + "/")}, "#token"},
		{"overview", []step{write("#token", consoleToken), click("form .primary")}, "#replicas"},
		{"webhooks", []step{click(`nav a[href="/console/webhooks"]`)}, "#go-on"},
		{"webhooks-found", []step{write("#f-text", "the-only-one"), click(".search .primary"), gone("#go-on")}, "#rows tr"},
		{"webhook", []step{click("#rows a")}, "#s-history"},
		{"quarantine", []step{click(`nav a[href="/console/quarantine"]`)}, "#s-recent"},
		{"retry", []step{click(`#s-recent ~ form input[type="checkbox"]`), click(`#s-recent ~ form .primary`)}, `[role="status"]`},
		{"webhook-quarantined", []step{click(`tbody a`)}, "#place"},
		{"repair", []step{click(`form[action$="/repair"] button`)}, "#body"},
		{"repair-tried", []step{
			script(`document.querySelector("#body").value = document.querySelector("#body").value.replace("Kč", "CZK")`), click(`form.stack button`),
		}, `button[name="publish"]`},
		{"webhook-repaired", []step{click(`button[name="publish"]`)}, "#s-history"},
	}
}

// browser is a Chromium with one page, and what went wrong in it.
type browser struct {
	context.Context

	t    *testing.T
	base string

	mu       sync.Mutex
	problems []string
}

// startBrowser starts a Chromium that notes errors, and requests to other hosts than base.
func startBrowser(t *testing.T, base string) *browser {
	t.Helper()
	needProtocols(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(time.Minute), chromedp.WindowSize(1360, 900))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		cancel()
		stop()
	})
	b := &browser{t: t, base: base}
	b.Context = ctx
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	if _, logErr := chromedp.Call(ctx, cdplog.Enable, cdp.Empty{}); err != nil || logErr != nil {
		t.Fatal(err, logErr)
	}
	return b
}

func (b *browser) note(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			text = fmt.Sprintf("console: %s", e.Args[0].Value)
		}
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			text = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.base+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			text = "a request to " + e.Request.URL
		}
	}
	if text == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, text)
}

// run does the actions, within half a minute.
func (b *browser) run(what string, steps ...step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		at, _ := chromedp.Run(b.Context, chromedp.Location())
		text, _ := chromedp.Run(b.Context, chromedp.Text(chromedp.CSS("main")))
		b.t.Fatalf("%s: %v\nat %s:\n%.2000s", what, err, at, text)
	}
}

// evaluate returns what a script is, within half a minute.
func evaluate[T any](b *browser, what, text string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, 30*time.Second)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](text, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return value
}

// prefer sets the color scheme, "light" or "dark". An empty text resets it to the default of the browser.
func (b *browser) prefer(scheme string) {
	b.t.Helper()
	p := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, p); err != nil {
		b.t.Fatal(err)
	}
}

// look checks the page that is shown, in light and dark and on a phone, and takes its pictures.
func (b *browser) look(name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.prefer(scheme)
		b.accessible(name + " in " + scheme)
		b.picture(name + "-" + scheme)
	}
	b.prefer("")
	b.run(name, chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile))
	if wide := evaluate[int](b, name, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
		b.t.Errorf("%s is wider than a phone by %d", name, wide)
	}
	b.picture(name + "-phone")
	b.run(name, chromedp.EmulateViewport(1360, 900))
}

// accessible has axe check the page.
func (b *browser) accessible(name string) {
	b.t.Helper()
	b.run(name, script(axe))
	found := evaluate[[]string](b, name, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.map((v) =>
		v.impact + " " + v.id + ": " + v.help + ": " + v.nodes.map((n) => n.html).slice(0, 3).join(" | ")))`)
	for _, v := range found {
		b.t.Errorf("%s: %s", name, v)
	}
}

// picture writes a picture of the whole page to the folder of pictures, if there is one.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv(picturesEnv)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.Context, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Error(err)
	}
}

// sendToConsole sends a webhook to the source returns.
func sendToConsole(t *testing.T, p *process, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr("webhooks")+"/webhooks/returns", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Secret", consoleSecret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("answered %d", resp.StatusCode)
	}
}

// TestProtocolsConsole: an operator walks through the console in a browser: signs in, searches, opens a quarantined webhook, tries to retry it, and
// repairs it by hand. No page has an error, asks another host for anything, or keeps a reader out.
func TestProtocolsConsole(t *testing.T) {
	needProtocols(t)
	p := startBridge(t, consoleConfig(t.TempDir()))
	shipping := func(id, more string) string {
		return `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"` + id + `"` + more + `}}`
	}
	for i := range 70 {
		sendToConsole(t, p, shipping(fmt.Sprint("s-", i), ""))
	}
	sendToConsole(t, p, shipping("the-only-one", `,"colour":"green"`))
	sendToConsole(t, p, shipping("bad", `,"customer_payment_details":[{"amount":"3.00","currency":"Kč"}]`))

	b := startBrowser(t, "http://"+p.addr("admin"))
	for _, c := range consolePages(b.base) {
		b.run(c.name, append(c.open, visible(c.ready))...)
		b.look(c.name)
	}
	b.checkOlder()
	b.checkLive()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		t.Error(problem)
	}
}

// checkOlder: the list grows in place.
func (b *browser) checkOlder() {
	b.t.Helper()
	b.run("older", visit(b.base+"/console/webhooks"), click("#go-on"), visible("#rows tr:nth-child(51)"), gone("#go-on"))
	rows := evaluate[int](b, "older", `document.querySelectorAll("#rows tr").length`)
	if at := evaluate[string](b, "older", "location.href"); rows != 72 || at != b.base+"/console/webhooks" {
		b.t.Errorf("%d rows at %s", rows, at)
	}
}

// checkLive: the overview loads itself again.
func (b *browser) checkLive() {
	b.t.Helper()
	b.run("live", visit(b.base+"/console/"), visible("#as-of time"), script(`window.before = document.querySelector("#as-of time").dateTime`))
	ctx, cancel := context.WithTimeout(b.Context, 30*time.Second)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](`document.querySelector("#as-of time").dateTime > window.before`)); err != nil {
		b.t.Errorf("the overview does not load itself again: %v", err)
	}
}
