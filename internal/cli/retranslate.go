package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

func retranslateCommand(env environment) *cobra.Command {
	o := newOperator(env)
	var filter filterFlags
	var dryRun, reveal bool
	cmd := &cobra.Command{
		Use:   "retranslate --since TIME",
		Short: "Translate stored webhooks again, and publish corrections",
		Long: `Translate stored webhooks with the current connectors. Where an event differs from the published one, a correction is
published: a new event that names the one that it supersedes. A second run publishes nothing.`,
		Example: `  bridge retranslate --since 168h --dry-run
  bridge retranslate --since 2026-01-31 --source returns`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if filter.since.at == nil {
				return &usageError{"needs --since: " + timeForms}
			}
			return nil
		},
		RunE: o.calling(func(ctx context.Context, _ []string) error {
			out := bufio.NewWriter(env.stdout)
			p := changePrinter{out: out, style: stylesFor(env.stdout, env.lookup), asJSON: o.asJSON, dryRun: dryRun}
			r := &adminv1.RetranslateWebhooksRequest{Filter: filter.message(), DryRun: dryRun, Reveal: reveal}
			for {
				page, err := o.RetranslateWebhooks(ctx, r)
				if err == nil {
					err = p.print(page)
				}
				if err != nil {
					_ = p.end() // The finished part is reported too.
					return err
				}
				if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
					return p.end()
				}
			}
		}),
	}
	filter.register(cmd.Flags())
	dryRunFlag(cmd.Flags(), &dryRun)
	revealFlag(cmd.Flags(), &reveal)
	o.register(cmd)
	return cmd
}

// changePrinter prints how webhooks' events differ from what is made today.
type changePrinter struct {
	out            *bufio.Writer
	style          styles
	asJSON, dryRun bool

	examined, unchanged, expired, faulty, corrections uint64
}

func (p *changePrinter) print(page *adminv1.RetranslateWebhooksResponse) error {
	p.examined += page.GetExamined()
	p.unchanged += page.GetUnchanged()
	p.expired += page.GetExpired()
	for _, c := range page.GetChanges() {
		if c.GetFault() != nil {
			p.faulty++
		}
		for _, e := range c.GetEvents() {
			if e.GetId() != "" {
				p.corrections++
			}
		}
		if !p.asJSON {
			printChange(p.out, p.style, c)
			continue
		}
		if err := printJSON(p.out, c); err != nil {
			return err
		}
	}
	return p.out.Flush() // a page may take long
}

func printChange(w io.Writer, s styles, c *adminv1.Change) {
	fmt.Fprintf(w, "%s%s%s  %s  %s\n", s.bold, c.GetWebhookId(), s.reset, printable(c.GetSource()), printable(c.GetVendorEvent()))
	if f := c.GetFault(); f != nil {
		fmt.Fprintf(w, "  %scannot be translated%s: %s\n", s.warn, s.reset, printable(faultText(f)))
	}
	for _, e := range c.GetEvents() {
		what := e.GetId() + " supersedes " + e.GetSupersedes()
		switch {
		case e.GetId() == "":
			what = e.GetSupersedes() + " is no longer made, and stays"
		case e.GetSupersedes() == "":
			what = e.GetId() + " was not made before"
		}
		fmt.Fprintf(w, "  event %d: %s\n", e.GetIndex(), what)
		for _, f := range e.GetFields() {
			fmt.Fprintf(w, "    %s%-28s%s %s → %s\n", s.dim, printable(f.GetPath()), s.reset, shown(f.GetPublished()), shown(f.GetMade()))
		}
	}
}

func shown(value string) string { return cmp.Or(printable(value), "(not set)") }

// end prints the sum. What cannot be translated fails the command.
func (p *changePrinter) end() error {
	if !p.asJSON {
		done := "published"
		if p.dryRun {
			done = "to publish"
		}
		changed := p.examined - p.unchanged - p.expired - p.faulty
		fmt.Fprintf(p.out, "%s: %d unchanged, %d changed with %s %s, %d cannot be translated, %d with events no longer kept\n",
			number(p.examined, "webhook"), p.unchanged, changed, number(p.corrections, "correction"), done, p.faulty, p.expired)
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	if p.faulty > 0 {
		return &reportedError{exitFailed}
	}
	return nil
}
