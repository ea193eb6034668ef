package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// operator is the part of a command that calls the operator's service.
type operator struct {
	env    environment
	client clientFlags
	asJSON bool

	adminv1.AdminServiceClient
}

func newOperator(env environment) *operator {
	return &operator{env: env, client: clientFlags{operator: true}}
}

// register adds the flags that all commands of operators have, after those of its own.
func (o *operator) register(cmd *cobra.Command) {
	jsonFlag(cmd.Flags(), &o.asJSON, "protobuf JSON, one message a line")
	o.client.register(cmd.Flags())
}

// calling returns a command's function that connects, calls run, and puts a server's refusal in words.
func (o *operator) calling(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		server, err := o.client.dial(o.env)
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
		o.AdminServiceClient = adminv1.NewAdminServiceClient(server)
		return server.explain(cmd.Context(), run(cmd.Context(), args))
	}
}

// timeForms describes the values of --since and --until.
const timeForms = "a duration before now such as 24h, or a time such as 2026-01-31T12:00:00Z or 2026-01-31 (its start in UTC)"

// timeFlag is a point in time.
type timeFlag struct{ at *timestamppb.Timestamp }

func (t *timeFlag) String() string {
	if t.at == nil {
		return ""
	}
	return t.at.AsTime().Format(time.RFC3339)
}

// Type names the values in the help.
func (t *timeFlag) Type() string { return "time" }

func (t *timeFlag) Set(s string) error {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		t.at = timestamppb.New(time.Now().Add(-d))
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			t.at = timestamppb.New(at)
			return nil
		}
	}
	return fmt.Errorf("must be %s", timeForms)
}

// filterFlags select webhooks.
type filterFlags struct {
	source, event, reason string
	outcome               adminv1.Outcome
	since, until          timeFlag
}

func (f *filterFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.source, "source", "", "only webhooks of this `source`")
	fs.StringVar(&f.event, "event", "", "only webhooks of this `event`, by the vendor's name")
	fs.Var(&f.since, "since", "only webhooks received at this `time` or later: "+timeForms)
	fs.Var(&f.until, "until", "only webhooks received before this `time`")
}

func (f *filterFlags) registerReason(fs *pflag.FlagSet) {
	fs.StringVar(&f.reason, "reason", "", "only webhooks that were quarantined for this `reason`, such as malformed_json")
}

func (f *filterFlags) message() *adminv1.Filter {
	return &adminv1.Filter{
		Source: f.source, VendorEvent: f.event, Outcome: f.outcome, Since: f.since.at, Until: f.until.at, Reason: f.reason,
	}
}

// empty reports whether all webhooks are selected.
func (f *filterFlags) empty() bool { return proto.Size(f.message()) == 0 }

// outcomeFlag is an outcome in lower case.
type outcomeFlag struct{ outcome *adminv1.Outcome }

func (f outcomeFlag) String() string {
	if f.outcome == nil {
		return ""
	}
	return outcomeText(*f.outcome)
}

// Type names the values in the help.
func (f outcomeFlag) Type() string { return "outcome" }

func (f outcomeFlag) Set(s string) error {
	v, known := adminv1.Outcome_value["OUTCOME_"+strings.ToUpper(s)]
	if !known || v == 0 {
		return fmt.Errorf("must be one of %s", outcomes())
	}
	*f.outcome = adminv1.Outcome(v)
	return nil
}

func outcomes() string {
	var words []string
	for v := int32(1); ; v++ {
		if _, ok := adminv1.Outcome_name[v]; !ok {
			return strings.Join(words, ", ")
		}
		words = append(words, outcomeText(adminv1.Outcome(v)))
	}
}

func outcomeText(o adminv1.Outcome) string {
	if o == adminv1.Outcome_OUTCOME_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(o.String(), "OUTCOME_"))
}

// table writes rows for people. What comes from outside cannot steer the terminal.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, head ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(head...)
	return t
}

func (t table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = cmp.Or(strings.TrimSpace(printable(c)), "-")
	}
	// The last cell needs no room behind it.
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t table) flush() error { return t.w.Flush() }

// printJSON writes a message as one line.
func printJSON(w io.Writer, m proto.Message) error {
	text, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	// protojson varies its spaces from build to build; programs that compare lines want them all the same.
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err = line.WriteTo(w)
	return err
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format("2006-01-02T15:04:05.000Z07:00")
}

// offsetText is a place in a body; nothing where there is none.
func offsetText(f *adminv1.Fault) string {
	if f == nil || f.GetOffset() < 0 {
		return ""
	}
	return strconv.FormatInt(f.GetOffset(), 10)
}

// number writes a count with its noun.
func number(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatUint(n, 10) + " " + one + "s"
}
