package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/simulate"
)

// traffic returns the flags for a test's load. In the short test it is a small, fixed number of webhooks; in the long test it is
// a rate for some time.
func traffic(rate, while string) []string {
	if os.Getenv("BRIDGE_TEST_LONG") != "" {
		return []string{"--rate", rate, "--for", while}
	}
	return []string{"--rate", "500", "--count", "500", "--seed", "1"}
}

// TestSimulate has the program send to itself as Retino would. Every webhook that was acknowledged must be exactly one event in
// the journal, duplicates must have collapsed, and the report must add up.
func TestSimulate(t *testing.T) {
	config := retinoConfig(t.TempDir())
	p := startBridge(t, config)
	s := startSimulation(t, p, config, append(traffic("2000", "20s"), "--duplicates", "5", "--broken", "2")...)
	report := s.wait(t)
	if problems := report.Problems(); len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
	if report.Total.Sent == 0 || report.Requests.Duplicates == 0 || report.Webhooks[simulate.Broken].Sent == 0 {
		t.Errorf("sent too little: %+v, %+v", report.Total, report.Requests)
	}
	s.compare(t, p)
	duplicates := counter(t, p, "bridge_duplicates_total")
	t.Logf("%.0f webhooks a second reached; %+v, %+v; %d duplicates collapsed", report.Reached, report.Total, report.Requests, duplicates)
	// A retry is a duplicate if the attempt before it was committed and its answer came too late.
	if least := report.Requests.Duplicates; duplicates < least || duplicates > least+report.Requests.Retries {
		t.Errorf("%d duplicates of %d and %d retries", duplicates, least, report.Requests.Retries)
	}
	if quarantined := counter(t, p, "bridge_quarantined_total"); quarantined != report.Webhooks[simulate.Broken].Sent {
		t.Errorf("%d in quarantine of %+v", quarantined, report.Webhooks[simulate.Broken])
	}
}

// TestSimulateOutage kills the server in the middle of a simulation and starts it again: the vendor's retries must bring all
// that was not acknowledged, and what was committed before the kill must not come twice.
func TestSimulateOutage(t *testing.T) {
	config := retinoConfig(t.TempDir())
	p := startBridge(t, config)
	s := startSimulation(t, p, config, append(traffic("2000", "10s"), "--duplicates", "5", "--time-scale", "1200")...)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for counter(t, p, "bridge_webhooks_received_total") < 100 {
		select {
		case <-tick.C:
		case <-s.ended:
			t.Fatalf("ended before the outage: %s%s", &s.stdout, &s.stderr)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	p.kill()
	p = startBridge(t, strings.Replace(config, `webhooks: "127.0.0.1:0"`, fmt.Sprintf("webhooks: %q", p.addr("webhooks")), 1))
	report := s.wait(t)
	if problems := report.Problems(); len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
	if report.Requests.Retries == 0 || report.Answers.Unreachable == 0 {
		t.Errorf("the outage went unnoticed: %+v", report)
	}
	t.Logf("%+v, %+v, %+v", report.Total, report.Requests, report.Answers)
	s.compare(t, p)
}

// simulation is a run of `bridge simulate` in a process of its own.
type simulation struct {
	record         string
	stdout, stderr bytes.Buffer
	// ended is closed when the process has, with err.
	ended chan struct{}
	err   error
}

// simulationPatience is how long a simulation may take.
const simulationPatience = 2 * time.Minute

// startSimulation sends to a server what Retino would. It is ended when it takes too long.
func startSimulation(t *testing.T, p *process, config string, args ...string) *simulation {
	t.Helper()
	return startSimulationAt(t, p.addr("webhooks"), config, args...)
}

// startSimulationAt is startSimulation for an address.
func startSimulationAt(t *testing.T, addr, config string, args ...string) *simulation {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "bridge.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &simulation{record: filepath.Join(dir, "record.jsonl"), ended: make(chan struct{})}
	args = append([]string{"simulate", "retino", "-c", file, "--addr", "http://" + addr, "--record", s.record, "--json"}, args...)
	cmd := program(t, args...)
	cmd.Stdout, cmd.Stderr = &s.stdout, &s.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(simulationPatience, func() { _ = cmd.Process.Kill() })
	go func() {
		defer close(s.ended)
		s.err = cmd.Wait()
		late.Stop()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // unless it has ended
		<-s.ended
	})
	return s
}

// program is this test binary in the role of the program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	return cmd
}

// wait returns the report. The exit code must be what it says.
func (s *simulation) wait(t *testing.T) *simulate.Report {
	t.Helper()
	<-s.ended
	report := &simulate.Report{}
	if decoding := json.Unmarshal(s.stdout.Bytes(), report); decoding != nil {
		t.Fatalf("%v, %v: %s%s", s.err, decoding, &s.stdout, &s.stderr)
	}
	var exit *exec.ExitError
	if failed := errors.As(s.err, &exit); failed != (len(report.Problems()) > 0) {
		t.Errorf("ended with %v, and the problems %q", s.err, report.Problems())
	}
	if strings.Contains(s.stdout.String()+s.stderr.String(), testSecret) {
		t.Error("the secret is shown")
	}
	return report
}

// compare holds the journal's events against what the acknowledged webhooks mean: each is there once, and no other.
func (s *simulation) compare(t *testing.T, p *process) {
	t.Helper()
	expected := map[string]int{}
	for _, r := range readRecords(t, s.record) {
		if r.Outcome != simulate.Acknowledged || r.Kind != simulate.Valid {
			continue
		}
		w := simulate.Webhook{Event: r.Event, Path: r.Path, Key: r.Key, Body: r.Body}
		events, _, fault := translateWebhook(t, allConnectors()["retino"], &w)
		if fault != nil {
			t.Fatalf("%v: %s", fault, r.Body)
		}
		for _, e := range events {
			expected[fingerprint(t, e)]++
		}
	}
	missing, surplus := 0, 0
	for said, n := range expected {
		if n != 1 {
			t.Fatalf("two webhooks mean the same: %s", said)
		}
	}
	for _, e := range tailAll(t, p) {
		said := fingerprint(t, e)
		if expected[said]--; expected[said] < 0 {
			surplus++
			t.Errorf("once too often, or never acknowledged: %v", e)
		}
	}
	for _, n := range expected {
		missing += max(n, 0)
	}
	t.Logf("%d facts acknowledged, %d missing in the journal, %d too many", len(expected), missing, surplus)
	if missing > 0 {
		t.Errorf("%d acknowledged webhooks are not in the journal", missing)
	}
}

func readRecords(t *testing.T, file string) []simulate.Record {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var records []simulate.Record
	for decoder := json.NewDecoder(bufio.NewReader(f)); decoder.More(); {
		var r simulate.Record
		if err := decoder.Decode(&r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// fingerprint returns the part of an event that comes from the connector, without the fields that Bridge adds.
func fingerprint(t *testing.T, e *eventv1.Event) string {
	t.Helper()
	said := proto.CloneOf(e)
	said.Id, said.Source, said.Connector, said.WebhookId, said.ReceivedAt, said.VendorEvent = "", "", "", "", nil, ""
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tailAll reads the whole journal with the program's own command.
func tailAll(t *testing.T, p *process) []*eventv1.Event {
	t.Helper()
	out, err := program(t, "tail", "--addr", p.addr("grpc"), "--json", "--no-follow").Output()
	if err != nil {
		t.Fatal(err)
	}
	var events []*eventv1.Event
	for line := range bytes.Lines(out) {
		e := &eventv1.Event{}
		if err := protojson.Unmarshal(line, e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// counter reads one of a server's counters, of its only source.
func counter(t *testing.T, p *process, name string) int64 {
	t.Helper()
	text, err := fetch(t.Context(), "http://"+p.addr("ops")+"/metrics", "", "")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(name + `\{source="returns"\} (\S+)`).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(n)
}
