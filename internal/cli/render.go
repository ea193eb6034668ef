package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/mask"
)

// styles are the escape sequences that set off parts of a line; all empty where the output is no terminal.
type styles struct {
	bold, dim, good, warn, accent, reset string
}

// stylesFor returns colours if w is a terminal and the user has not asked for none (no-color.org).
func stylesFor(w io.Writer, lookup func(string) (string, bool)) styles {
	f, isFile := w.(*os.File)
	if off, _ := lookup("NO_COLOR"); off != "" || !isFile || !term.IsTerminal(int(f.Fd())) {
		return styles{}
	}
	return styles{bold: "\x1b[1m", dim: "\x1b[2m", good: "\x1b[32m", warn: "\x1b[33m", accent: "\x1b[36m", reset: "\x1b[0m"}
}

// maxListed is how many elements of a list are printed before the rest is counted only.
const maxListed = 3

// printEvent writes an event for people: one line that says what happened, then its facts, indented. Personal data are
// masked. It returns the writer's error.
func printEvent(w io.Writer, s styles, e *eventv1.Event) error {
	when := e.GetOccurredAt()
	if when == nil {
		when = e.GetReceivedAt()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s%s  %s%-26s%s %s%s%s  %s(%s %s)%s",
		s.dim, when.AsTime().Format(time.RFC3339), s.reset,
		s.bold, e.GetType(), s.reset,
		s.accent, printable(e.GetSubject()), s.reset,
		s.dim, e.GetSource(), printable(e.GetVendorEvent()), s.reset)
	if e.GetStale() {
		fmt.Fprintf(&b, "  %sstale%s", s.warn, s.reset)
	}
	b.WriteByte('\n')
	m := e.ProtoReflect()
	if data := m.WhichOneof(m.Descriptor().Oneofs().ByName("data")); data != nil {
		facts(&b, s, "", m.Get(data).Message(), 0)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// facts prints the fields of m that are set, in the order of the schema.
func facts(b *strings.Builder, s styles, prefix string, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		name := prefix + string(f.Name())
		if mask.Personal(f) {
			fact(b, s, name, mask.Mark)
			continue
		}
		if f.IsList() {
			factList(b, s, name, f, m.Get(f).List(), depth)
			continue
		}
		factValue(b, s, name, f, m.Get(f), depth)
	}
}

func factList(b *strings.Builder, s styles, name string, f protoreflect.FieldDescriptor, list protoreflect.List, depth int) {
	for i := range min(list.Len(), maxListed) {
		factValue(b, s, name+"["+strconv.Itoa(i)+"]", f, list.Get(i), depth)
	}
	if rest := list.Len() - maxListed; rest > 0 {
		fact(b, s, name, fmt.Sprintf("… and %d more", rest))
	}
}

func factValue(b *strings.Builder, s styles, name string, f protoreflect.FieldDescriptor, v protoreflect.Value, depth int) {
	if f.Message() == nil {
		fact(b, s, name, scalarText(f, v))
		return
	}
	if text, ok := wellKnownText(v.Message().Interface()); ok {
		fact(b, s, name, text)
		return
	}
	if depth < 3 {
		facts(b, s, name+".", v.Message(), depth+1)
	}
}

func fact(b *strings.Builder, s styles, name, value string) {
	fmt.Fprintf(b, "    %s%-28s%s %s\n", s.dim, name, s.reset, printable(value))
}

func scalarText(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if f.Enum() == nil {
		return v.String()
	}
	value := f.Enum().Values().ByNumber(v.Enum())
	if value == nil {
		return strconv.Itoa(int(v.Enum()))
	}
	// ORDER_STATUS_CLOSED of OrderStatus reads "closed".
	name := string(value.Name())
	zero := string(f.Enum().Values().ByNumber(0).Name())
	return strings.ToLower(strings.TrimPrefix(name, strings.TrimSuffix(zero, "UNSPECIFIED")))
}

func wellKnownText(m proto.Message) (string, bool) {
	switch m := m.(type) {
	case *timestamppb.Timestamp:
		return m.AsTime().Format(time.RFC3339Nano), true
	case *money.Money:
		return moneyText(m), true
	case *decimal.Decimal:
		return m.GetValue(), true
	case *date.Date:
		return fmt.Sprintf("%04d-%02d-%02d", m.GetYear(), m.GetMonth(), m.GetDay()), true
	default:
		return "", false
	}
}

// moneyText writes money exactly, with at least two decimals.
func moneyText(m *money.Money) string {
	units, nanos, sign := m.GetUnits(), m.GetNanos(), ""
	if units < 0 || nanos < 0 {
		sign = "-"
	}
	fraction := strings.TrimRight(fmt.Sprintf("%09d", max(nanos, -nanos)), "0")
	for len(fraction) < 2 {
		fraction += "0"
	}
	return strings.TrimSpace(fmt.Sprintf("%s%s.%s %s", sign, strings.TrimPrefix(strconv.FormatInt(units, 10), "-"), fraction, m.GetCurrencyCode()))
}

// printable replaces what could steer a terminal: the text comes from outside.
func printable(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return unsteering(s)
}

// unsteering replaces what could steer a terminal.
func unsteering(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
