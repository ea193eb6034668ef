package ingress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
)

// heldBody is a body whose end comes when the sender is let go. reading is closed at the first read.
type heldBody struct {
	reading chan struct{}
	io.Reader
}

func (b *heldBody) Read(p []byte) (int, error) {
	select {
	case <-b.reading:
	default:
		close(b.reading)
	}
	return b.Reader.Read(p)
}

// TestOrderIsThatOfCommit: a webhook whose body is slow is received first and committed last. Its events come last, with the earlier
// time of receipt, and a lower version is then stale.
func TestOrderIsThatOfCommit(t *testing.T) {
	j, err := pebble.Open(t.Context(), pebble.Config{Dir: "journal", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	in, err := intake.New(intake.Config{Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{}
	if e.Ingress, err = New(Config{Intake: in, Sources: testSources()}); err != nil {
		t.Fatal(err)
	}
	order := func(version string) string {
		return `{"_t": "orders", "id": 1, "_v": ` + version + `, "currency": "CZK"}`
	}
	rest, send := io.Pipe()
	slow := &heldBody{reading: make(chan struct{}), Reader: rest}
	done := make(chan int)
	go func() {
		r := httptest.NewRequest(http.MethodPost, tillPath, slow)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		done <- w.Code
	}()
	<-slow.reading
	if w := e.post(tillPath, nil, []byte(order("2"))); w.Code != http.StatusOK {
		t.Fatalf("the quick one: %d", w.Code)
	}
	if _, err := io.Copy(send, strings.NewReader(order("1"))); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	if code := <-done; code != http.StatusOK {
		t.Fatalf("the slow one: %d", code)
	}
	records, err := j.Read(t.Context(), 1, make([]sinks.Record, 0, 3))
	if err != nil {
		t.Fatal(err)
	}
	var all []*eventv1.Event
	for _, r := range records {
		event, err := r.Event()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, event)
	}
	if len(all) != 2 || all[0].GetSubjectVersion() != "2" || all[1].GetSubjectVersion() != "1" {
		t.Fatalf("events %v", all)
	}
	if quick, slow := all[0].GetReceivedAt().AsTime(), all[1].GetReceivedAt().AsTime(); !slow.Before(quick) {
		t.Errorf("the slow one was received at %v, the quick one at %v", slow, quick)
	}
	if all[0].GetStale() || !all[1].GetStale() {
		t.Errorf("stale: %v and %v", all[0].GetStale(), all[1].GetStale())
	}
}
