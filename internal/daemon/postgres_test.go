package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// replica is a server over a journal in PostgreSQL.
type replica struct {
	*Server
	t     *testing.T
	log   *logBuffer
	stop  context.CancelFunc
	ended chan error
	conn  *grpc.ClientConn
}

const replicaConfig = `
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal:
  postgres: {url: %q, schema: %s, replicated_by: %s, replica: %s}
shutdown_delay: 0s
sources:
  - name: shop
    connector: retino
    auth: {header: {name: X-Secret, values: [a-secret]}}
sinks:
  - name: first
    replica: one
    file: {path: %s}
  - name: second
    replica: two
    file: {path: %s}
`

var replicaPlugins = Plugins{Connectors: []*connectors.Connector{retino.New()}, Sinks: []SinkKind{FileSink()}}

// database is the place of a journal for one test.
type database struct{ url, schema, dir string }

func newDatabase(t *testing.T, url string) database {
	t.Helper()
	schema := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_"))
	return database{url, fmt.Sprintf("d_%.40s", schema), t.TempDir()}
}

func (d database) config(t *testing.T, name, replicatedBy string) *config.Config {
	t.Helper()
	text := fmt.Sprintf(replicaConfig, d.url, d.schema, replicatedBy, name, filepath.Join(d.dir, "first"), filepath.Join(d.dir, "second"))
	cfg, err := replicaPlugins.ParseConfig("bridge.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// start runs a replica until the test ends, or until it is stopped.
func (d database) start(t *testing.T, name string) *replica {
	t.Helper()
	r := &replica{t: t, log: &logBuffer{}, ended: make(chan error, 1)}
	var err error
	if r.Server, err = Open(t.Context(), d.config(t, name, "standby"), replicaPlugins, Place{}, slog.New(slog.NewTextHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.ended; err != nil {
			t.Errorf("%s ended: %v", name, err)
		}
		r.ended <- nil
	})
	if r.conn, err = grpc.NewClient(r.Addr("grpc"), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	return r
}

// end stops the replica in order.
func (r *replica) end() {
	r.t.Helper()
	r.stop()
	err := <-r.ended
	r.ended <- err
}

// answered is an answer without its body.
type answered struct {
	StatusCode int
	Header     http.Header
}

// send sends a webhook, and returns the answer.
func (r *replica) send(secret, body string) answered {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.Addr("webhooks")+"/webhooks/shop/ticket_created", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("X-Secret", secret)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answered{answer.StatusCode, answer.Header}
}

// page returns a page of the ops listener.
func (r *replica) page(path string) string {
	r.t.Helper()
	answer, err := http.Get("http://" + r.Addr("ops") + path) //nolint:noctx // a test
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func (r *replica) operators() adminv1.AdminServiceClient {
	return adminv1.NewAdminServiceClient(r.conn)
}

// tail opens a stream and receives until there is an event, whose token it returns.
func (r *replica) tail(start *streamv1.Start) (token string, err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	stream, err := streamv1.NewEventStreamServiceClient(r.conn).Tail(ctx, &streamv1.TailRequest{Start: start})
	if err != nil {
		return "", err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return "", err
		}
		if events := m.GetEvents().GetEvents(); len(events) > 0 {
			return events[len(events)-1].GetToken(), nil
		}
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// Two replicas show the same: who is there, and the state of a sink that one of them delivers to.
func TestReplicasShowTheSame(t *testing.T) {
	d := newDatabase(t, pgtest.Shared(t).URL())
	one, two := d.start(t, "one"), d.start(t, "two")
	for _, r := range []*replica{one, two} {
		eventually(t, "each replica delivers to its sink, as all say", func() bool {
			a, err := r.operators().ListSinks(t.Context(), &adminv1.ListSinksRequest{})
			return err == nil && len(a.GetSinks()) == 2 && a.GetSinks()[0].GetReplica() == "one" && a.GetSinks()[1].GetReplica() == "two" &&
				a.GetSinks()[0].GetBreaker() == "closed" && a.GetSinks()[1].GetBreaker() == "closed"
		})
		eventually(t, "both replicas are listed with their claims", func() bool {
			a, err := r.operators().ListReplicas(t.Context(), &adminv1.ListReplicasRequest{})
			if err != nil || len(a.GetReplicas()) != 2 {
				return false
			}
			holds := func(i int) string { return " " + strings.Join(a.GetReplicas()[i].GetClaims(), " ") + " " }
			return a.GetReplicas()[0].GetName() == "one" && strings.Contains(holds(0), " first ") && strings.Contains(holds(1), " second ") &&
				strings.Contains(holds(0)+holds(1), " _alerts ") && a.GetReplicas()[0].GetState() == "running" && a.GetReplicas()[0].GetVersion() != ""
		})
	}
	// A token of one is good at the other at once, also while the other does not know the event yet.
	if got := one.send("a-secret", `{"ticket_id": 1}`).StatusCode; got != http.StatusOK {
		t.Fatalf("webhook: %d", got)
	}
	var start *streamv1.Start // the earliest event
	for i := range 20 {
		from, to := one, two
		if i%2 == 1 {
			from, to = two, one
		}
		if got := from.send("a-secret", fmt.Sprintf(`{"ticket_id": 1, "n": %d}`, i)).StatusCode; got != http.StatusOK {
			t.Fatalf("webhook %d: %d", i, got)
		}
		token, err := from.tail(start)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		start = &streamv1.Start{At: &streamv1.Start_Token{Token: token}}
		if got := from.send("a-secret", fmt.Sprintf(`{"ticket_id": 2, "n": %d}`, i)).StatusCode; got != http.StatusOK {
			t.Fatalf("webhook %d: %d", i, got)
		}
		if token, err = to.tail(start); err != nil {
			t.Fatalf("stream %d at the other replica: %v", i, err)
		}
		start = &streamv1.Start{At: &streamv1.Start_Token{Token: token}}
	}
	_, err := one.operators().BackupJournal(t.Context(), &adminv1.BackupJournalRequest{Path: "/tmp/backup"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "pg_basebackup") {
		t.Errorf("backup: %v", err)
	}
	one.end()
	eventually(t, "the replica that ended is listed so", func() bool {
		a, err := two.operators().ListReplicas(t.Context(), &adminv1.ListReplicasRequest{})
		return err == nil && a.GetReplicas()[0].GetState() == "ended" && len(a.GetReplicas()[0].GetClaims()) == 0
	})
	eventually(t, "the other replica has the alerts", func() bool {
		a, err := two.operators().ListReplicas(t.Context(), &adminv1.ListReplicasRequest{})
		return err == nil && strings.Contains(strings.Join(a.GetReplicas()[1].GetClaims(), " "), "_alerts")
	})
}

// Half of the refused requests come to each replica. The alert is raised once, and stays raised when its holder ends.
func TestAlertOverReplicas(t *testing.T) {
	d := newDatabase(t, pgtest.Shared(t).URL())
	one, two := d.start(t, "one"), d.start(t, "two")
	const raised = `bridge_source_alarm{alarm="unauthorized",source="shop"} 1`
	for range 6 {
		for _, r := range []*replica{one, two} {
			if got := r.send("wrong", "{}").StatusCode; got != http.StatusUnauthorized {
				t.Fatalf("got %d", got)
			}
		}
	}
	var holder, other *replica
	eventually(t, "the alert is raised", func() bool {
		holder, other = one, two
		if strings.Contains(two.page("/metrics"), raised) {
			holder, other = two, one
		}
		return strings.Contains(holder.page("/metrics"), raised)
	})
	if strings.Contains(other.page("/metrics"), raised) {
		t.Error("the alert is raised at two replicas")
	}
	holder.end()
	eventually(t, "the next holder shows the alert", func() bool { return strings.Contains(other.page("/metrics"), raised) })
	if n := holder.log.lines("alert raised") + other.log.lines("alert raised"); n != 1 {
		t.Errorf("raised %d times", n)
	}
	for range 13 {
		other.send("a-secret", `{"ticket_id": 1}`)
	}
	eventually(t, "the alert is cleared", func() bool { return other.log.lines("alert cleared") == 1 })
}

// While the database is away vendors get 503 at once, subscribers UNAVAILABLE, and operators the reason without the password.
func TestDatabaseAway(t *testing.T) {
	cluster := pgtest.Shared(t)
	proxy := cluster.NewProxy(t)
	d := newDatabase(t, cluster.URLBy(proxy))
	r := d.start(t, "one")
	if got := r.send("a-secret", `{"ticket_id": 1}`).StatusCode; got != http.StatusOK {
		t.Fatalf("webhook: %d", got)
	}
	proxy.Refuse()
	proxy.Cut()
	eventually(t, "the replica is not ready", func() bool { return strings.HasPrefix(r.page("/readyz"), "journal cannot commit: ") })
	for range 10 {
		began := time.Now()
		answer := r.send("a-secret", `{"ticket_id": 2}`)
		if took := time.Since(began); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" || took > 2*time.Second {
			t.Errorf("answer %d after %s, Retry-After %q", answer.StatusCode, took, answer.Header.Get("Retry-After"))
		}
	}
	if _, err := r.tail(nil); status.Code(err) != codes.Unavailable {
		t.Errorf("stream: %v", err)
	}
	if _, err := r.operators().ListSinks(t.Context(), &adminv1.ListSinksRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("operator's call: %v", err)
	}
	for _, text := range []string{r.page("/readyz"), r.page("/metrics"), r.log.String()} {
		if strings.Contains(text, cluster.Password()) {
			t.Error("the password is printed")
		}
	}
	proxy.Accept()
	eventually(t, "the replica is ready again", func() bool { return strings.HasPrefix(r.page("/readyz"), "ok") })
	eventually(t, "webhooks are accepted again", func() bool { return r.send("a-secret", `{"ticket_id": 2}`).StatusCode == http.StatusOK })
}

// check finds what the start of a server would find, and says it in the same words, without the password.
func TestCheckFindsWhatServeRefuses(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{})
	good := newDatabase(t, cluster.URL())
	change := func(edit func(u *url.URL)) database {
		u, err := url.Parse(good.url)
		if err != nil {
			t.Fatal(err)
		}
		edit(u)
		d := good
		d.url = u.String()
		return d
	}
	for name, tt := range map[string]struct {
		database
		replicatedBy, want string
	}{
		"unsafe":         {good, "standby", "synchronous_standby_names is empty"},
		"wrong password": {change(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wr0ng-passw0rd") }), "nothing", "password"},
		"no database":    {change(func(u *url.URL) { u.Path = "/missing" }), "nothing", "missing"},
		"no server":      {change(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "nothing", "refused"},
		"no rights":      {change(func(u *url.URL) { u.Path = "/postgres" }), "nothing", "needs CREATE in the database"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tt.config(t, "one", tt.replicatedBy)
			findings := replicaPlugins.Preflight(t.Context(), cfg, Probes{Database: true})
			if len(findings) != 1 || findings[0].Severity != Refusal || findings[0].Path != "journal.postgres.url" || !strings.Contains(findings[0].Reason, tt.want) {
				t.Fatalf("check finds %+v, want %q", findings, tt.want)
			}
			_, err := Open(t.Context(), cfg, replicaPlugins, Place{}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("a server says %v, want %q", err, tt.want)
			}
			for _, text := range []string{findings[0].Reason, err.Error()} {
				if strings.Contains(text, cluster.Password()) || strings.Contains(text, "wr0ng-passw0rd") {
					t.Errorf("the password is printed: %s", text)
				}
			}
		})
	}
	cfg := good.config(t, "one", "nothing")
	if findings := replicaPlugins.Preflight(t.Context(), cfg, Probes{Database: true}); findings != nil {
		t.Errorf("check finds %+v in a good database", findings)
	}
	s, err := Open(t.Context(), cfg, replicaPlugins, Place{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.release()
	cluster.Exec(t, "update "+good.schema+".log set format = 1000000")
	findings := replicaPlugins.Preflight(t.Context(), cfg, Probes{Database: true})
	if len(findings) != 1 || !strings.Contains(findings[0].Reason, "newer format") {
		t.Errorf("check finds %+v in a log of a newer version", findings)
	}
}

// A shutdown first turns readiness off, and goes on serving until the load balancer has noticed.
func TestShutdownDelay(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf(`
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: %s}
shutdown_delay: 1500ms
sources: [{name: shop, connector: retino, auth: {header: {name: X-Secret, values: [a-secret]}}}]
`, dir)
	cfg, err := replicaPlugins.ParseConfig("bridge.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{t: t, log: &logBuffer{}, ended: make(chan error, 1)}
	if r.Server, err = Open(t.Context(), cfg, replicaPlugins, Place{}, slog.New(slog.NewTextHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { r.ended <- r.Run(ctx) }()
	eventually(t, "ready", func() bool { return strings.HasPrefix(r.page("/readyz"), "ok") })
	began := time.Now()
	cancel()
	eventually(t, "not ready", func() bool { return strings.HasPrefix(r.page("/readyz"), "starting or stopping") })
	if got := r.send("a-secret", `{"ticket_id": 1}`).StatusCode; got != http.StatusOK {
		t.Errorf("while the balancer may still send: %d", got)
	}
	if err := <-r.ended; err != nil || time.Since(began) < cfg.ShutdownDelay {
		t.Errorf("ended after %s: %v", time.Since(began), err)
	}
}
