package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

// servedMetrics returns the text of /metrics of a server that has received webhooks. Metrics that have labels show once something
// was counted.
func servedMetrics(t *testing.T) string {
	t.Helper()
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	if err := makeCertificate(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	const admin = `admin: "127.0.0.1:0"`
	secure := fmt.Sprintf("%s, tls: {admin: {cert_file: %q, key_file: %q}}", admin, certFile, keyFile)
	config := strings.Replace(retinoConfig(t.TempDir()), admin, secure, 1) + "    alarms: {silent_after: 1h}\n" +
		fmt.Sprintf("sinks: [{name: archive, file: {path: %q}}]\n", filepath.Join(t.TempDir(), "events.jsonl")) +
		"access: {principals: [{name: reader, tokens: [token-of-a-reader-01], sources: ['*'], types: ['**'], groups: ['*']}]}\n"
	p := startBridge(t, config)
	good := strings.Replace(string(sampleBody("retino", "shipping_ordered")), "{", `{"new_field": 1,`, 1)
	post := func(body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://"+p.addr("webhooks")+"/webhooks/returns/shipping.ordered", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Retino-Secret", testSecret)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("answered %s", answer.Status)
		}
	}
	for _, body := range []string{good, good, strings.Replace(good, "Z3824826667", "Z1", 1), "{"} {
		post(body)
	}
	pullOnce(t, p.addr("grpc"), "token-of-a-reader-01")
	return awaitMetric(t, p, "bridge_group_lag_seconds{")
}

// awaitMetric returns the text of /metrics once it has a metric. The program itself reads its metrics, too, and groups are read from the
// journal at most every 15 seconds.
func awaitMetric(t *testing.T, p *process, metric string) string {
	t.Helper()
	late := time.After(time.Minute)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		text, err := fetch(t.Context(), "http://"+p.addr("ops")+"/metrics", "", "")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, metric) {
			return text
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("no %s in\n%s", metric, text)
		}
	}
}

// pullOnce pulls from a group, which makes it.
func pullOnce(t *testing.T, addr, token string) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	pulled, err := streamv1.NewEventStreamServiceClient(conn).Pull(ctx, &streamv1.PullRequest{Group: "billing"})
	if err != nil || len(pulled.GetDeliveries()) == 0 {
		t.Fatalf("pulled %v, %v", pulled, err)
	}
}

// TestMetricsAreDocumented compares the metrics of a running server with docs/operating.md, both ways. The server has the embedded journal;
// the metrics that only PostgreSQL has must be in that engine.
func TestMetricsAreDocumented(t *testing.T) {
	served := names(`(?m)^# HELP (bridge_[a-z_]+) `, servedMetrics(t))
	var embedded, shared strings.Builder
	for line := range strings.Lines(readText(t, "../../docs/operating.md")) {
		if strings.Contains(line, "PostgreSQL only") {
			shared.WriteString(line)
		} else {
			embedded.WriteString(line)
		}
	}
	engine := readText(t, "../../internal/journal/postgres/metrics.go")
	for _, name := range names("`(bridge_[a-z_]+)", shared.String()) {
		if !strings.Contains(engine, `"`+name+`"`) {
			t.Errorf("docs/operating.md has %s, and PostgreSQL's engine does not", name)
		}
	}
	documented := names("`(bridge_[a-z_]+)", embedded.String())
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("docs/operating.md (-served +documented):\n%s", diff)
	}
}

// promtoolVariable names promtool, which the continuous integration builds.
const promtoolVariable = "BRIDGE_TEST_PROMTOOL"

// TestMetricsAreWellNamed: the linter of Prometheus finds nothing in the metrics of a running server. promtool has the same
// linter, and reads the text as Prometheus does.
func TestMetricsAreWellNamed(t *testing.T) {
	text := servedMetrics(t)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	promtool := os.Getenv(promtoolVariable)
	if promtool == "" {
		return
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// alertRule is an alert of docs/prometheus/rules.yaml.
type alertRule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alertRule } }
	if err := yaml.Unmarshal([]byte(readText(t, "../../docs/prometheus/rules.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var all []alertRule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

// labelValues are the values of a metric's labels.
type labelValues map[string]map[string]bool

// parseMetrics reads the metrics of /metrics with the values of their labels.
func parseMetrics(text string) map[string]labelValues {
	all := make(map[string]labelValues)
	label := regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
	for _, m := range regexp.MustCompile(`(?m)^(bridge_[a-z_]+)(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		if all[m[1]] == nil {
			all[m[1]] = make(labelValues)
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if all[m[1]][l[1]] == nil {
				all[m[1]][l[1]] = make(map[string]bool)
			}
			all[m[1]][l[1]][l[2]] = true
		}
	}
	return all
}

// TestRulesFitTheMetrics: a running server has each metric, each label and each value of a label that a rule names.
func TestRulesFitTheMetrics(t *testing.T) {
	served := parseMetrics(servedMetrics(t))
	for _, r := range alertRules(t) {
		fits(t, r.Alert, served, r.Expr, names(`\$labels\.([a-z_]+)`, r.Annotations["summary"]+r.Annotations["description"]))
	}
}

var (
	selector = regexp.MustCompile(`(bridge_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(?:=~|=)"([^"]*)"`)
)

// fits checks that a server has the metrics of an expression, with the labels that it and its descriptions name. Prometheus itself adds
// the label instance.
func fits(t *testing.T, what string, served map[string]labelValues, expr string, labels []string) {
	t.Helper()
	for _, by := range names(`by \(([a-z_, ]+)\)`, expr) {
		labels = append(labels, strings.Split(by, ", ")...)
	}
	labels = slices.DeleteFunc(labels, func(l string) bool { return l == "instance" })
	selected := selector.FindAllStringSubmatch(expr, -1)
	if len(selected) == 0 {
		t.Errorf("%s: no metric of Bridge", what)
	}
	for _, s := range selected {
		metric, ok := served[s[1]]
		if !ok {
			t.Errorf("%s: there is no metric %s", what, s[1])
			continue
		}
		for _, l := range labels {
			if metric[l] == nil {
				t.Errorf("%s: %s has no label %s", what, s[1], l)
			}
		}
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			for value := range strings.SplitSeq(m[2], "|") {
				if m[1] != "instance" && !metric[m[1]][value] {
					t.Errorf("%s: %s has no %s=%q, only %v", what, s[1], m[1], value, slices.Sorted(maps.Keys(metric[m[1]])))
				}
			}
		}
	}
}

// dashboardPanel is a panel of docs/prometheus/dashboard.json.
type dashboardPanel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ Expr, LegendFormat string }
}

// TestDashboardFitsTheMetrics: a running server has what the dashboard shows, for the instances that are chosen. Each panel is explained, and none
// lies upon another.
func TestDashboardFitsTheMetrics(t *testing.T) {
	var dashboard struct{ Panels []dashboardPanel }
	if err := json.Unmarshal([]byte(readText(t, "../../docs/prometheus/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	served := parseMetrics(servedMetrics(t))
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: its id is another one's, or it has no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if taken[at] != "" || at[0] > 23 {
					t.Fatalf("%s lies upon %q, or outside", p.Title, taken[at])
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("%s: no description, or nothing to show", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `{instance=~"$instance"`) {
				t.Errorf("%s shows instances that are not chosen: %s", p.Title, target.Expr)
			}
			fits(t, p.Title, served, target.Expr, names(`\{\{([a-z_]+)\}\}`, target.LegendFormat))
		}
	}
	if len(ids) < 25 {
		t.Errorf("%d panels", len(ids))
	}
}

// TestRulesAreComplete: each rule says how bad it is, what it means and where to read on, and has a test in which it fires and one in
// which it does not.
func TestRulesAreComplete(t *testing.T) {
	var tests struct {
		Tests []struct {
			Cases []struct {
				Alert    string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	_, secrets, _ := strings.Cut(readText(t, "../../docs/prometheus/secrets_test.yaml"), "tests:\n")
	if err := yaml.Unmarshal([]byte(readText(t, "../../docs/prometheus/rules_test.yaml")+secrets), &tests); err != nil {
		t.Fatal(err)
	}
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, test := range tests.Tests {
		for _, c := range test.Cases {
			fires[c.Alert] = fires[c.Alert] || len(c.Expected) > 0
			silent[c.Alert] = silent[c.Alert] || len(c.Expected) == 0
		}
	}
	for _, r := range alertRules(t) {
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 40 {
			t.Errorf("%s: summary %q, description %q", r.Alert, r.Annotations["summary"], r.Annotations["description"])
		}
		checkRunbook(t, r)
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s: a test in which it fires: %v, one in which it does not: %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
		if strings.Contains(r.Expr, "increase(") && !strings.Contains(r.Expr, "unless") {
			t.Errorf("%s: does not fire for a series that is born at 1", r.Alert)
		}
	}
}

// checkRunbook checks that the rule's link leads to a heading of a page in docs.
func checkRunbook(t *testing.T, r alertRule) {
	t.Helper()
	page, anchor, ok := strings.Cut(strings.TrimPrefix(r.Annotations["runbook_url"], "https://github.com/webhook-bridge/bridge/blob/main/docs/"), "#")
	if !ok || strings.Contains(page, "/") {
		t.Errorf("%s: runbook_url %q", r.Alert, r.Annotations["runbook_url"])
		return
	}
	for _, heading := range names(`(?m)^#+ (.*)$`, readText(t, "../../docs/"+page)) {
		if strings.ReplaceAll(strings.ToLower(heading), " ", "-") == anchor {
			return
		}
	}
	t.Errorf("%s: docs/%s has no heading #%s", r.Alert, page, anchor)
}
