package cli

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

// demoPatience is how long an event may take from the vendor's request to the screen before the demo gives up.
const demoPatience = 15 * time.Second

//go:embed demo.yaml
var demoConfig string

// demoRun is a demonstration under way.
type demoRun struct {
	env    environment
	style  styles
	dir    string
	all    map[string]*connectors.Connector
	cfg    *config.Config // of the running server, with the addresses it got
	app    *daemon.Server
	client *http.Client
	// events gets the events of the subscription, failed the error that ended it.
	events chan *eventv1.Event
	failed chan error
}

func demoCommand(env environment) *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See vendors' webhooks become events, here and now",
		Long: `Start a real server in a temporary folder, send it webhooks of each vendor, and print the events as they come back by gRPC.
The server then runs until Ctrl-C, and the command prints what to try next. Nothing stays behind.`,
		Example: "  bridge demo --once",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), env, once) },
	}
	cmd.Flags().BoolVar(&once, "once", false, "end when all has been shown")
	return cmd
}

// demo starts a server in a folder of its own, sends it each vendor's webhooks and shows the events that they become.
func demo(ctx context.Context, env environment, once bool) (err error) {
	dir, err := os.MkdirTemp("", "bridge-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demoRun{
		env:    env,
		style:  stylesFor(env.stdout, env.lookup),
		dir:    dir,
		all:    env.plugins.ByName(),
		client: &http.Client{Timeout: demoPatience},
		events: make(chan *eventv1.Event, 16),
		failed: make(chan error, 2),
	}
	return d.run(ctx, once)
}

func (d *demoRun) run(ctx context.Context, once bool) (err error) {
	logFile, err := os.Create(filepath.Join(d.dir, "bridge.log"))
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()
	if err := d.open(ctx, slog.New(slog.NewTextHandler(logFile, nil))); err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.failed <- d.app.Run(serving)
	}()
	defer func() {
		d.client.CloseIdleConnections() // for which a shutdown would wait: a webhook may be on its way
		stop()
		<-ended
	}()

	conn, err := grpc.NewClient(d.cfg.Listen.GRPC.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	go func() { d.failed <- d.subscribe(reading, conn) }()

	if err := d.show(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // The user has ended the demo.
		}
		return err
	}
	if once {
		return nil
	}
	if err := d.suggest(); err != nil {
		return err
	}
	return d.follow(ctx)
}

// open starts the server on free ports, then writes its configuration down with the ports it got, for other commands.
func (d *demoRun) open(ctx context.Context, log *slog.Logger) error {
	text := func(addr func(name string) string) (string, error) {
		var b strings.Builder
		t := template.Must(template.New("demo.yaml").Funcs(template.FuncMap{"addr": addr}).Parse(demoConfig))
		err := t.Execute(&b, map[string]string{"Dir": filepath.Join(d.dir, "data"), "Sources": demoSources(d.all)})
		return b.String(), err
	}
	load := func(addr func(string) string) (*config.Config, string, error) {
		s, err := text(addr)
		if err != nil {
			return nil, "", err
		}
		cfg, err := d.env.plugins.ParseConfig("demo.yaml", []byte(s), d.env.lookup)
		return cfg, s, err
	}
	cfg, _, err := load(func(string) string { return "127.0.0.1:0" })
	if err != nil {
		return err
	}
	if d.app, err = daemon.Open(ctx, cfg, d.env.plugins, daemon.Place{}, log); err != nil {
		return err
	}
	cfg, s, err := load(d.app.Addr)
	if err != nil {
		return err
	}
	d.cfg = cfg
	return os.WriteFile(d.configPath(), []byte(s), 0o600)
}

func (d *demoRun) configPath() string { return filepath.Join(d.dir, "bridge.yaml") }

// subscribe hands every event to the one who prints.
func (d *demoRun) subscribe(ctx context.Context, conn *grpc.ClientConn) error {
	t := &tailer{
		follower: follower{
			explain: func(_ context.Context, err error) error { return err },
			notice:  func(string, ...any) {},
		},
		client: streamv1.NewEventStreamServiceClient(conn),
		handle: func(e *eventv1.Event) error {
			select {
			case d.events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		batched: func(string) error { return nil },
		left:    -1,
	}
	return t.follow(ctx, t.once)
}

// show sends the webhooks and prints, for each, the answer and the events it became.
func (d *demoRun) show(ctx context.Context) error {
	d.title("Vendors send webhooks; events come back by gRPC")
	for _, name := range slices.Sorted(maps.Keys(d.all)) {
		samples, err := sceneOf(d.all[name]).shown(d.all[name])
		if err != nil {
			return err
		}
		for _, s := range samples {
			if err := d.sendAndPrint(ctx, s); err != nil {
				return err
			}
		}
	}
	const (
		repeated   = "The same webhook again: the vendor gets its success, subscribers get nothing twice"
		unmodelled = "An event that is not modelled is published too, as unmapped"
		broken     = "A broken webhook from a known sender is kept, with the reason and the place"
	)
	if err := d.sendNamed(ctx, repeated, repeatedSample, d.send); err != nil {
		return err
	}
	if err := d.sendNamed(ctx, unmodelled, unmodelledSample, d.sendAndPrint); err != nil {
		return err
	}
	return d.sendNamed(ctx, broken, brokenSample, func(ctx context.Context, s vendorSample) error {
		if err := d.send(ctx, s); err != nil {
			return err
		}
		return d.printQuarantine(ctx)
	})
}

// sendNamed prints a title and sends a sample, by the names of its connector and its own. A program without that connector shows
// nothing here.
func (d *demoRun) sendNamed(
	ctx context.Context, title string, name [2]string, send func(context.Context, vendorSample) error,
) error {
	c, known := d.all[name[0]]
	if !known {
		return nil
	}
	s, err := sampleNamed(c, name[1])
	if err != nil {
		return err
	}
	d.title(title)
	return send(ctx, s)
}

func (d *demoRun) sendAndPrint(ctx context.Context, s vendorSample) error {
	if err := d.send(ctx, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for range s.canonical() {
		select {
		case e := <-d.events:
			if err := printEvent(d.env.stdout, d.style, e); err != nil {
				return err
			}
		case err := <-d.failed:
			return fmt.Errorf("the demo's server or subscription ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the event of %s %s did not come", s.connector.Name, s.event)
		}
	}
	return nil
}

// send posts a sample the way its vendor does.
func (d *demoRun) send(ctx context.Context, s vendorSample) error {
	src, err := simulatedSource(d.cfg, s.connector, "")
	if err != nil {
		return err
	}
	a, err := post(ctx, d.client, s.connector, "http://"+d.cfg.Listen.Webhooks.Addr, src, s.named(), s.Body)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.env.stdout, "%s→ %s %s, %d bytes to %s%s  %s%d %s%s\n",
		d.style.dim, s.connector.Name, s.event, len(s.Body), src.Name, d.style.reset, d.style.good, a.status, a.body, d.style.reset)
	if a.status != http.StatusOK {
		return fmt.Errorf("%s %s was answered %d", s.connector.Name, s.event, a.status)
	}
	return nil
}

func (d *demoRun) printQuarantine(ctx context.Context) error {
	kept, err := d.app.Quarantined(ctx)
	if err != nil {
		return err
	}
	if len(kept) != 1 {
		return fmt.Errorf("the quarantine holds %d webhooks, not the one that was broken", len(kept))
	}
	w := kept[0]
	q := w.GetQuarantine()
	fmt.Fprintf(d.env.stdout, "  %squarantine%s  %s  %s at byte %d of %d, %s%s%s\n    %s\n    %s\n",
		d.style.warn, d.style.reset, q.GetReason(), q.GetPath(), q.GetOffset(), len(w.GetBody()),
		d.style.dim, w.GetId(), d.style.reset, printable(q.GetDetail()), excerpt(w.GetBody(), int(q.GetOffset()), d.style))
	return nil
}

// excerpt returns the line of body that offset is in, the rest of the line from there on set off.
func excerpt(body []byte, offset int, s styles) string {
	offset = max(0, min(offset, len(body)))
	begin := bytes.LastIndexByte(body[:offset], '\n') + 1
	line, _, _ := bytes.Cut(body[begin:], []byte("\n"))
	at := min(offset-begin, len(line))
	return strings.TrimSpace(printable(string(line[:at]))) + " " + s.warn + "▸" + printable(string(line[at:])) + s.reset
}

func (d *demoRun) title(text string) {
	fmt.Fprintf(d.env.stdout, "\n%s%s%s\n\n", d.style.bold, text, d.style.reset)
}

// suggest prints what to try next, in commands that work as they stand.
func (d *demoRun) suggest() error {
	program := "bridge"
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		program = "go run ./cmd/bridge"
	}
	commands := []string{
		"# be a service: follow the events, from the start or from where you were\n  " + program + " tail -c " + d.configPath() + " --json --state " + filepath.Join(d.dir, "where"),
		"# be an operator\n  " + program + " quarantine list -c " + d.configPath() + "\n  curl http://" + d.cfg.Listen.Ops.Addr + "/metrics",
		"# read what this server was told, and what it says\n  cat " + d.configPath() + " " + filepath.Join(d.dir, "bridge.log"),
	}
	if c, known := d.all[repeatedSample[0]]; known {
		s, err := sampleNamed(c, repeatedSample[1])
		if err != nil {
			return err
		}
		shipped := filepath.Join(d.dir, "shipped.json")
		if err := os.WriteFile(shipped, s.Body, 0o600); err != nil {
			return err
		}
		commands = slices.Insert(commands, 0, "# be a vendor: another shipment, under an id of its own\n  sed \"s/2b20e85f/$(date +%s | tail -c 9)/\" "+
			shipped+" |\n    curl --data-binary @- -H 'X-Retino-Secret: demo-retino-secret' http://"+d.cfg.Listen.Webhooks.Addr+"/webhooks/returns")
	}
	d.title("The server keeps running until you press Ctrl-C. In another terminal:")
	for _, c := range commands {
		fmt.Fprintf(d.env.stdout, "  %s\n\n", c)
	}
	return nil
}

// follow prints events until ctx is done, or the server or the subscription ends.
func (d *demoRun) follow(ctx context.Context) error {
	for {
		select {
		case e := <-d.events:
			if err := printEvent(d.env.stdout, d.style, e); err != nil {
				return err
			}
		case err := <-d.failed:
			if ctx.Err() == nil {
				return err
			}
		case <-ctx.Done():
			fmt.Fprintln(d.env.stdout)
			return nil
		}
	}
}
