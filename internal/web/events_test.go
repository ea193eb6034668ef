package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// line is a line of NDJSON.
type line struct {
	Token string
	Event struct{ ID, Type string }

	Subscribed, Heartbeat, Goodbye *struct{ Token, Lag, Reason string }
	Error                          *struct {
		Code, Message string
		Details       []struct{ EarliestToken string }
	}
}

func readLine(t *testing.T, in *bufio.Scanner) (line, bool) {
	t.Helper()
	var l line
	if !in.Scan() {
		return l, false
	}
	if err := json.Unmarshal(in.Bytes(), &l); err != nil {
		t.Fatalf("%q: %v", in.Text(), err)
	}
	return l, true
}

// firstToken returns the token of the earliest place.
func (s *served) firstToken(t *testing.T) string {
	t.Helper()
	resp := s.get(t, client(t, false), EventsPath)
	defer resp.Body.Close()
	l, ok := readLine(t, bufio.NewScanner(resp.Body))
	if !ok || l.Subscribed == nil {
		t.Fatalf("the first line is %v", l)
	}
	return l.Subscribed.Token
}

// block is one block of server-sent events.
type block struct{ id, event, data, comment, retry string }

func readBlock(in *bufio.Scanner) (block, bool) {
	var b block
	for in.Scan() {
		switch name, value, _ := strings.Cut(in.Text(), ": "); {
		case in.Text() == "":
			return b, true
		case name == "":
			b.comment = value
		case name == "id":
			b.id = value
		case name == "event":
			b.event = value
		case name == "data":
			b.data = value
		case name == "retry":
			b.retry = value
		}
	}
	return b, false
}

// TestResume: a client that breaks off anywhere, and resumes with the last token, gets each event once, in each format and protocol.
func TestResume(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const events = 300
	s.add(t, 0, events)
	for _, http2 := range []bool{false, true} {
		for _, sse := range []bool{false, true} {
			web, seen, last := client(t, http2), []string{}, ""
			for attempts := 0; len(seen) < 2*events/3 && attempts < 100; attempts++ {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				query := url.Values{"types": {"order.*"}}
				r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "", nil)
				if sse {
					r.Header.Set("Accept", "text/event-stream")
					r.Header.Set("Last-Event-ID", last)
				} else if last != "" {
					query.Set("token", last)
				}
				r.URL, _ = url.Parse(s.url + EventsPath + "?" + query.Encode())
				resp, err := web.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				in := bufio.NewScanner(resp.Body)
				for range 7 {
					id, token := next(t, in, sse)
					if id != "" {
						seen = append(seen, id)
					}
					last = token
					if len(seen) == 2*events/3 {
						break
					}
				}
				cancel()
				_ = resp.Body.Close()
			}
			for i, id := range seen {
				if want := fmt.Sprintf("event-%d", i/2*3+i%2+1); id != want {
					t.Fatalf("HTTP/2 %t, SSE %t: event %d is %s, want %s", http2, sse, i, id, want)
				}
			}
			if len(seen) != 2*events/3 {
				t.Errorf("HTTP/2 %t, SSE %t: %d events", http2, sse, len(seen))
			}
		}
	}
}

// next returns the id of the next event, or "" for another message, and the token.
func next(t *testing.T, in *bufio.Scanner, sse bool) (id, token string) {
	t.Helper()
	if !sse {
		l, ok := readLine(t, in)
		switch {
		case !ok:
			t.Fatal("the stream ends")
		case l.Subscribed != nil:
			return "", l.Subscribed.Token
		case l.Heartbeat != nil:
			return "", l.Heartbeat.Token
		}
		return l.Event.ID, l.Token
	}
	b, ok := readBlock(in)
	if !ok {
		t.Fatal("the stream ends")
	}
	var e struct{ ID string }
	if b.event != "subscribed" && b.data != "" {
		if err := json.Unmarshal([]byte(b.data), &e); err != nil {
			t.Fatal(err)
		}
	}
	return e.ID, b.id
}

// TestFormats: the messages of both formats.
func TestFormats(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.add(t, 0, 2)
	resp := s.get(t, client(t, false), EventsPath+"?heartbeat=100ms", "Accept", "text/event-stream, */*;q=0.1")
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	in := bufio.NewScanner(resp.Body)
	var blocks []block
	for range 4 {
		b, ok := readBlock(in)
		if !ok {
			t.Fatal("the stream ends")
		}
		blocks = append(blocks, b)
	}
	for i, want := range []block{
		{event: "subscribed", data: `"lag":"2"`, retry: "1000"},
		{event: "customer.deleted", data: `{"id":"event-0"`},
		{event: "order.changed", data: `{"id":"event-1"`},
		{comment: "heartbeat, lag 0"},
	} {
		got := blocks[i]
		if got.id == "" || got.event != want.event || got.comment != want.comment || got.retry != want.retry || !strings.Contains(got.data, want.data) {
			t.Errorf("block %d is %+v, want %+v", i, got, want)
		}
		if i == 3 && got.data != "" {
			t.Errorf("a heartbeat has data: %+v", got)
		}
	}
	if blocks[2].id != blocks[3].id {
		t.Errorf("the heartbeat has another place than the last event")
	}
	unnamed := bufio.NewScanner(s.get(t, client(t, false), EventsPath+"?unnamed=true", "Accept", "text/event-stream").Body)
	for range 2 {
		if b, _ := readBlock(unnamed); b.event != "" && b.event != "subscribed" {
			t.Errorf("an event has the name %s", b.event)
		}
	}
	lines := bufio.NewScanner(s.get(t, client(t, false), EventsPath+"?heartbeat=100ms&types=none&sources=pos").Body)
	if l, _ := readLine(t, lines); l.Subscribed == nil || l.Subscribed.Token == "" {
		t.Errorf("the first line is %+v", l)
	}
	if l, _ := readLine(t, lines); l.Heartbeat == nil || l.Heartbeat.Token == "" {
		t.Errorf("the second line is %+v", l)
	}
}

// TestStop: a stream with a stop ends there. A page is told, since its browser would connect again.
func TestStop(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.add(t, 0, 2)
	lines := bufio.NewScanner(s.get(t, client(t, false), EventsPath+"?stop=latest").Body)
	for range 4 { // subscribed, two events, a heartbeat
		next(t, lines, false)
	}
	if lines.Scan() {
		t.Errorf("after the stop comes %q", lines.Text())
	}
	blocks := bufio.NewScanner(s.get(t, client(t, true), EventsPath+"?stop=latest", "Accept", "text/event-stream").Body)
	for range 4 {
		next(t, blocks, true)
	}
	if b, _ := readBlock(blocks); b != (block{event: "end", data: "{}"}) {
		t.Errorf("at the stop comes %+v", b)
	}
}

// TestHeaderAfterTheEnd: a call that is left behind changes nothing of an answer that is over.
func TestHeaderAfterTheEnd(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	s := &stream{ctx: t.Context(), w: &writer{ResponseWriter: recorder, controller: http.NewResponseController(recorder)}, format: ndjson{}}
	s.end(status.Error(codes.Unavailable, "server is shutting down"))
	if err := s.SetHeader(metadata.Pairs("late", "yes")); err == nil || recorder.Header().Get("late") != "" {
		t.Errorf("a header is set after the end: %v", err)
	}
}

// TestUnknownSource: a source that is not known is named in a header.
func TestUnknownSource(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	if got := s.get(t, client(t, false), EventsPath+"?sources=shop&sources=shpo").Header.Values(grpcstream.UnknownSource); len(got) != 1 || got[0] != "c2hwbw" {
		t.Errorf("%s: %q", grpcstream.UnknownSource, got)
	}
}

// TestRefused: errors before the stream have their status and a JSON object.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ *Config, c *grpcstream.StreamsConfig) { c.Max = 1 })
	s.add(t, 0, 10)
	old := s.firstToken(t)
	s.log.Expire(5)
	var open answer
	for open.Response == nil || open.StatusCode == 429 { // until the stream of the token has ended
		open = s.get(t, client(t, true), EventsPath+"?from=latest") // the one that there may be
	}
	for _, tt := range []struct {
		query, accept, auth string
		status              int
		code, text          string
	}{
		{"", "", "Bearer wrong", 401, "UNAUTHENTICATED", "token"},
		{"", "text/html", "", 406, "INVALID_ARGUMENT", "x-ndjson"},
		{"", "text/event-stream;q=0", "", 406, "INVALID_ARGUMENT", "x-ndjson"},
		{"typ=order.*", "", "", 400, "INVALID_ARGUMENT", "did you mean types?"},
		{"types=%zz", "", "", 400, "INVALID_ARGUMENT", "query"},
		{"from=yesterday", "", "", 400, "INVALID_ARGUMENT", "from: must be earliest"},
		{"from=latest&token=x", "", "", 400, "INVALID_ARGUMENT", "one of them"},
		{"from=latest&from=earliest", "", "", 400, "INVALID_ARGUMENT", "from: is there 2 times"},
		{"heartbeat=10", "", "", 400, "INVALID_ARGUMENT", "heartbeat: must be a duration"},
		{"stale=perhaps", "", "", 400, "INVALID_ARGUMENT", "stale: must be true or false"},
		{"unnamed=true", "", "", 400, "INVALID_ARGUMENT", "unnamed: is for text/event-stream"},
		{"", "", "", 429, "RESOURCE_EXHAUSTED", "1 streams are open"},
		{"", "text/event-stream", "", 429, "RESOURCE_EXHAUSTED", "1 streams are open"},
	} {
		header := []string{"Authorization", tt.auth}
		if tt.accept != "" {
			header = append(header, "Accept", tt.accept)
		}
		checkRefused(t, s.get(t, client(t, false), EventsPath+"?"+tt.query, header...), tt.query+tt.accept, tt.status, tt.code, tt.text)
	}
	_ = open.Body.Close()
	for _, tt := range []struct {
		query, lastEventID string
		status             int
		code, text         string
	}{
		{"types=a*", "", 400, "INVALID_ARGUMENT", "types"},
		{"heartbeat=1ms", "", 400, "INVALID_ARGUMENT", "heartbeat"},
		{"token=x", "", 400, "INVALID_ARGUMENT", "token"},
		{"from=earliest", "x", 400, "INVALID_ARGUMENT", "token"},
		{"types=b&token=" + old, "", 400, "FAILED_PRECONDITION", "filter"},
		{"token=" + old, "", 410, "OUT_OF_RANGE", "POSITION_EXPIRED"},
		{"", old, 410, "OUT_OF_RANGE", "POSITION_EXPIRED"},
	} {
		var resp answer
		for resp.Response == nil || resp.StatusCode == 429 { // until the stream that was open has ended
			resp = s.get(t, client(t, true), EventsPath+"?"+tt.query, "Last-Event-ID", tt.lastEventID)
		}
		l := checkRefused(t, resp, tt.query, tt.status, tt.code, tt.text)
		if tt.status == 410 && (len(l.Error.Details) != 1 || l.Error.Details[0].EarliestToken == "") {
			t.Errorf("%s: no earliest token: %+v", tt.query, l.Error)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+EventsPath, nil)
	resp, err := client(t, false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
		t.Errorf("POST: %s", resp.Status)
	}
}

func checkRefused(t *testing.T, resp answer, what string, status int, code, text string) line {
	t.Helper()
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	var l line
	if err := json.Unmarshal(body, &l); err != nil || l.Error == nil {
		t.Fatalf("%s: %s %s", what, resp.Status, body)
	}
	if resp.StatusCode != status || l.Error.Code != code || !strings.Contains(l.Error.Message, text) {
		t.Errorf("%s: %s %s, want %d %s %s", what, resp.Status, body, status, code, text)
	}
	if again := resp.Header.Get("Retry-After"); (again != "") != (status == 429) {
		t.Errorf("%s: Retry-After %q", what, again)
	}
	if challenge := resp.Header.Get("WWW-Authenticate"); (challenge != "") != (status == 401) {
		t.Errorf("%s: WWW-Authenticate %q", what, challenge)
	}
	return l
}

// TestErrorWithinTheStream: an error after the first message is the last message.
func TestErrorWithinTheStream(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, sse := range []bool{false, true} {
		accept := "application/x-ndjson"
		if sse {
			accept = "text/event-stream"
		}
		resp := s.get(t, client(t, false), EventsPath+"?from=latest", "Accept", accept)
		in := bufio.NewScanner(resp.Body)
		next(t, in, sse)
		s.log.Close()
		var texts []string
		for in.Scan() {
			texts = append(texts, in.Text())
		}
		if text := strings.Join(texts, " "); !strings.Contains(text, "goodbye") || strings.Contains(text, "error") {
			t.Errorf("%s: %s", accept, text)
		}
		s = serve(t, nil)
	}
}

// TestGoodbye: a drain says goodbye in each format, with a token that resumes, and the response ends.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.add(t, 0, 1)
	lines := s.get(t, client(t, false), EventsPath)
	blocks := s.get(t, client(t, true), EventsPath, "Accept", "text/event-stream")
	in, events := bufio.NewScanner(lines.Body), bufio.NewScanner(blocks.Body)
	for range 2 {
		next(t, in, false)
		next(t, events, true)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.streams.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if l, _ := readLine(t, in); l.Goodbye == nil || l.Goodbye.Token == "" || l.Goodbye.Reason == "" {
		t.Errorf("the line is %+v", l)
	}
	if b, _ := readBlock(events); b.event != "goodbye" || b.id == "" || b.retry == "" {
		t.Errorf("the block is %+v", b)
	}
	if in.Scan() || events.Scan() {
		t.Errorf("after the goodbye come %q, %q", in.Text(), events.Text())
	}
	if err := s.web.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestClientThatDoesNotRead: it holds up no other client, and the end of its stream waits for nothing.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		s := serve(t, nil)
		for range 6_000 {
			if _, err := s.log.Append(&eventv1.Event{Type: "order.changed", Source: "shop", Subject: strings.Repeat("x", 5_000)}); err != nil {
				t.Fatal(err)
			}
		}
		stuck := s.get(t, client(t, http2), EventsPath)
		other := bufio.NewScanner(s.get(t, client(t, http2), EventsPath).Body)
		for range 6_000 {
			next(t, other, false)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := s.streams.Shutdown(ctx); err == nil {
			t.Errorf("HTTP/2 %t: the stream ended by itself", http2)
		}
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
		if err := s.streams.Shutdown(ctx); err != nil {
			t.Errorf("HTTP/2 %t: the stream is left: %v", http2, err)
		}
		cancel()
		_ = stuck.Body.Close()
	}
}

// sharedResponse counts how often a text of it was made.
type sharedResponse struct {
	*streamv1.TailResponse
	texts map[any][]byte
	made  int
}

func (m *sharedResponse) Once(key any, encode func() ([]byte, error)) (text []byte, err error) {
	if m.texts[key] == nil {
		m.made++
		m.texts[key], err = encode()
	}
	return m.texts[key], err
}

// TestSharedText: streams with the same format share the text of an event, and no stream writes into it.
func TestSharedText(t *testing.T) {
	t.Parallel()
	events := func(n int) *streamv1.TailResponse {
		return &streamv1.TailResponse{Message: &streamv1.TailResponse_Events{Events: &streamv1.Events{
			Events: []*streamv1.DeliveredEvent{{Token: "token", Event: event(n)}},
		}}}
	}
	shared := &sharedResponse{events(0), map[any][]byte{}, 0}
	var texts []string
	for range 2 {
		for _, f := range []format{ndjson{}, &sse{begun: true}, &sse{begun: true, unnamed: true}} {
			recorder := httptest.NewRecorder()
			s := &stream{ctx: t.Context(), w: &writer{ResponseWriter: recorder, controller: http.NewResponseController(recorder)}, format: f}
			for _, m := range []any{shared, events(1), shared} {
				if err := s.SendMsg(m); err != nil {
					t.Fatal(err)
				}
			}
			texts = append(texts, recorder.Body.String())
		}
	}
	for i, text := range texts {
		if text != texts[i%3] || strings.Count(text, `"event-0"`) != 2 || strings.Count(text, `"event-1"`) != 1 {
			t.Errorf("stream %d got %s", i, text)
		}
	}
	if shared.made != 3 || texts[0] == texts[1] || texts[1] == texts[2] {
		t.Errorf("%d texts were made of three formats: %q", shared.made, texts[:3])
	}
}
