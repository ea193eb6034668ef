package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/forward"
)

// listenFlags are the command line of listen.
type listenFlags struct {
	tailFlags

	to, body, signWith string
}

func listenCommand(env environment) *cobra.Command {
	f := listenFlags{tailFlags: tailFlags{client: clientFlags{subscriber: true}, defaultFrom: "latest"}}
	cmd := &cobra.Command{
		Use:   "listen --forward URL",
		Short: "Send a server's events to a program on this machine, as webhooks",
		Long: `Send the events of a running server to a URL, each as an HTTP POST request, until Ctrl-C: for the development of a program that
receives them. The requests are those of the webhook sink, so the same program can take its events from a sink later.

An event that the program refuses with 400, 413 or 422 is left out, and a line says so. While the program does not run, or answers otherwise, the
event is sent again, and later events wait. With --state the command continues where it stopped. Nothing is kept in the server: for
events that must arrive, use a webhook sink or a group.`,
		Example: `  bridge listen --forward http://localhost:3000/events
  bridge listen --forward http://localhost:3000 --type 'order.*' --from earliest
  bridge listen --forward http://localhost:3000 --state position   # go on there next time`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if f.to == "" {
				return &usageError{"takes --forward URL"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return f.listen(cmd.Context(), env) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.to, "forward", "", "`URL` to send the events to, with http or https")
	fs.StringVar(&f.body, "body", "json", "what a request's body is, a webhook sink's `format`: json, cloudevents or cloudevents_binary")
	fs.StringVar(&f.signWith, "sign-with", "", "sign the requests with the Standard Webhooks secret in this `file`")
	fs.StringVar(&f.from, "from", "", "`where` to start: "+fromForms+"\n(default latest); with --state it counts only when that file is new")
	f.registerFilter(fs)
	f.client.register(fs)
	return cmd
}

func (f *listenFlags) listen(ctx context.Context, env environment) error {
	secret, err := f.secret()
	if err != nil {
		return err
	}
	to, err := forward.Open(ctx, forward.Config{URL: f.to, Body: f.body, Secret: secret})
	if wrong, ok := errors.AsType[*forward.ProblemError](err); ok {
		return &usageError{fmt.Sprintf("%s %v", flagsOfParts[wrong.Part], wrong.Err)}
	}
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // Nothing is under way.
	out := forwardPrinter{env.stdout, stylesFor(env.stdout, env.lookup)}
	send := func(e *eventv1.Event) error { return sendTo(ctx, to, out, e) }
	return f.run(ctx, env, "listen", send, func() error { return nil })
}

// flagsOfParts are the flags that set the parts of a [forward.Config].
var flagsOfParts = map[string]string{"url": "--forward", "body": "--body", "secret": "--sign-with"}

func (f *listenFlags) secret() (string, error) {
	if f.signWith == "" {
		return "", nil
	}
	text, err := os.ReadFile(f.signWith)
	return strings.TrimSpace(string(text)), err
}

// sendTo sends an event, and prints what becomes of it. Its error ends the command.
func sendTo(ctx context.Context, to *forward.Forwarder, out forwardPrinter, e *eventv1.Event) error {
	began := time.Now()
	var printed error
	err := to.Send(ctx, e, func(reason error) { printed = out.print(e, out.warn, "again soon: "+reason.Error()) })
	if printed != nil {
		return printed
	}
	if refused, ok := errors.AsType[*forward.RefusedError](err); ok {
		return out.print(e, out.warn, "refused, left out: "+refused.Error())
	}
	if err != nil {
		return err
	}
	return out.print(e, out.accent, "accepted in "+time.Since(began).Round(time.Millisecond).String())
}

// forwardPrinter prints what became of events.
type forwardPrinter struct {
	io.Writer
	styles
}

// print prints a line for an event. It has no data of the event.
func (p forwardPrinter) print(e *eventv1.Event, color, what string) error {
	_, err := fmt.Fprintf(p, "%s%s%s  %s%-26s%s %s  %s%s%s\n",
		p.dim, time.Now().Format(time.TimeOnly), p.reset, p.bold, e.GetType(), p.reset, printable(e.GetSubject()), color, what, p.reset)
	return err
}
