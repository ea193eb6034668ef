package admin

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/ingress"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/repair"
	"github.com/webhook-bridge/bridge/internal/source"
)

// rig is a whole receiving side over a journal in memory, and a client of the operator's service.
type rig struct {
	t        *testing.T
	journal  journal.Journal
	edge     *ingress.Ingress
	intake   *intake.Intake
	server   *Server
	sources  map[string]*intake.Source
	patience time.Duration
	log      *logs
	sinks    []Sink
	backup   Backup
	// keep are headers that are kept.
	keep []string
	// refuse, if set, says why an entry cannot be appended.
	refuse func(journal.Entry) error
	adminv1.AdminServiceClient
}

// disk is the rig's journal as intake sees it: it may refuse.
type disk struct {
	journal.Journal

	rig *rig
}

func (d disk) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	if d.rig.refuse != nil {
		if err := d.rig.refuse(e); err != nil {
			return journal.Receipt{}, err
		}
	}
	return d.Journal.Append(ctx, e)
}

// logs collects what is logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newRig opens a journal and starts with the connectors as they are.
func newRig(t *testing.T) *rig {
	t.Helper()
	j, err := pebble.Open(t.Context(), pebble.Config{Dir: "data", FS: vfs.NewMem(), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, journal: j, log: &logs{}}
	r.start(openloyalty.New(), kasafik.New(), retino.New())
	return r
}

// start makes a new server over the same journal with these connectors, as a new version of the program would. Each connector
// has a source of the same name.
func (r *rig) start(all ...*connectors.Connector) {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r.log, nil))
	in, err := intake.New(intake.Config{Journal: disk{r.journal, r}, Logger: log})
	if err != nil {
		r.t.Fatal(err)
	}
	var received []source.Source
	for _, c := range all {
		received = append(received, source.Source{
			Name: c.Name, Connector: c, Currency: "EUR", Zone: time.UTC, KeepHeaders: r.keep,
			Auth: source.Auth{Scheme: source.SchemeNone}, Limits: source.Limits{Rate: 1000000},
		})
	}
	if problems := source.Resolve(received); problems != nil {
		r.t.Fatal(problems)
	}
	r.intake, r.sources = in, map[string]*intake.Source{}
	for _, s := range received {
		r.sources[s.Name] = in.Source(s, nil)
	}
	if r.edge, err = ingress.New(ingress.Config{Intake: in, Sources: received}); err != nil {
		r.t.Fatal(err)
	}
	r.server = New(Config{
		Journal: r.journal, Intake: in, Sources: r.sources, Sinks: r.sinks, Backup: r.backup, Logger: log, Patience: r.patience,
	})
	r.AdminServiceClient = dial(r.t, r.server)
}

// use puts another journal between the service and the rig's.
func (r *rig) use(j Journal) { r.server.journal, r.server.repair = j, repair.New(j, r.intake) }

// dial serves over a connection in memory.
func dial(t *testing.T, s adminv1.AdminServiceServer) adminv1.AdminServiceClient {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	adminv1.RegisterAdminServiceServer(server, s)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///admin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(128<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		// Stopped before it served, if nothing was asked.
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return adminv1.NewAdminServiceClient(conn)
}

// post sends a webhook, which is answered with success.
func (r *rig) post(path, body string) {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/webhooks/"+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	r.edge.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%s was answered %d: %s", path, w.Code, w.Body)
	}
}

// events are all that were published.
func (r *rig) events() []*eventv1.Event {
	r.t.Helper()
	bounds := r.journal.Bounds()
	var all []*eventv1.Event
	for p := bounds.Earliest; p < bounds.Next; p++ {
		e, err := r.journal.EventAt(r.t.Context(), p)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func (r *rig) list(f *adminv1.Filter) []*adminv1.Webhook {
	r.t.Helper()
	var all []*adminv1.Webhook
	request := &adminv1.ListWebhooksRequest{Filter: f, PageSize: 3}
	for {
		page, err := r.ListWebhooks(r.t.Context(), request)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, page.GetWebhooks()...)
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all
		}
	}
}

func (r *rig) get(id string, reveal bool) *adminv1.GetWebhookResponse {
	r.t.Helper()
	shown, err := r.GetWebhook(r.t.Context(), &adminv1.GetWebhookRequest{Id: id, Reveal: reveal})
	if err != nil {
		r.t.Fatal(err)
	}
	return shown
}

// retry goes through all pages.
func (r *rig) retry(request *adminv1.RetryWebhooksRequest) []*adminv1.RetryResult {
	r.t.Helper()
	var all []*adminv1.RetryResult
	for {
		page, err := r.RetryWebhooks(r.t.Context(), request)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, page.GetResults()...)
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all
		}
	}
}

// retranslate goes through all pages, and sums them up in one.
func (r *rig) retranslate(request *adminv1.RetranslateWebhooksRequest) *adminv1.RetranslateWebhooksResponse {
	r.t.Helper()
	sum := &adminv1.RetranslateWebhooksResponse{}
	for {
		page, err := r.RetranslateWebhooks(r.t.Context(), request)
		if err != nil {
			r.t.Fatal(err)
		}
		sum.Examined += page.GetExamined()
		sum.Unchanged += page.GetUnchanged()
		sum.Expired += page.GetExpired()
		sum.Changes = append(sum.Changes, page.GetChanges()...)
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return sum
		}
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%v, not %s", err, want)
	}
}

var quarantined = &adminv1.Filter{Outcome: adminv1.Outcome_OUTCOME_QUARANTINED}
