package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-bridge/bridge/connectors"
	optionsv1 "github.com/webhook-bridge/bridge/gen/bridge/options/v1"
	"github.com/webhook-bridge/bridge/internal/schema"
	"github.com/webhook-bridge/bridge/internal/source"
)

// description is all that a connector says of its vendor. Its fields' order is that of the JSON.
type description struct {
	Name       string              `json:"name"`
	Service    string              `json:"service"`
	EventCount int                 `json:"event_count"`
	NamedBy    naming              `json:"named_by"`
	KeyHeader  string              `json:"key_header,omitempty"`
	FormField  string              `json:"form_field,omitempty"`
	Batches    bool                `json:"batches,omitempty"`
	Auth       string              `json:"auth"`
	Header     string              `json:"header,omitempty"`
	HMAC       *hmacDescription    `json:"hmac,omitempty"`
	Needs      []string            `json:"needs"`
	HTTPS      bool                `json:"https,omitempty"`
	Answer     string              `json:"answer"`
	MaxBody    int64               `json:"max_body"`
	Window     string              `json:"window"`
	Delivery   deliveryDescription `json:"habits"`
	Events     []eventDescription  `json:"events,omitempty"`
}

// naming has the places where a vendor's webhooks name their event. With any vendor, the URL may name it.
type naming struct {
	Field  string `json:"field,omitempty"`
	Header string `json:"header,omitempty"`
}

func (n naming) text() string {
	var by []string
	if n.Field != "" {
		by = append(by, "field "+n.Field)
	}
	if n.Header != "" {
		by = append(by, "header "+n.Header)
	}
	if by == nil {
		return "URL"
	}
	return strings.Join(by, ", ")
}

// hmacDescription is a [connectors.HMAC] with nothing left to defaults.
type hmacDescription struct {
	Header         string `json:"header"`
	Algorithm      string `json:"algorithm"`
	Encoding       string `json:"encoding"`
	Prefix         string `json:"prefix,omitempty"`
	Separator      string `json:"separator,omitempty"`
	SecretPrefix   string `json:"secret_prefix,omitempty"`
	SecretEncoding string `json:"secret_encoding"`
	Timestamp      string `json:"timestamp,omitempty"`
	Tolerance      string `json:"tolerance,omitempty"`
	Signed         string `json:"signed"`
}

// deliveryDescription is a [connectors.DeliveryPolicy] in words.
type deliveryDescription struct {
	Timeout  string   `json:"timeout,omitempty"`
	Retries  []string `json:"retries"`
	RetryOn  []string `json:"retry_on"`
	Success  string   `json:"success"`
	Repeats  bool     `json:"repeats"`
	Disorder bool     `json:"disorder"`
}

// eventDescription is one event: its message, and the path that it is sent to.
type eventDescription struct {
	Name    string             `json:"name"`
	Message string             `json:"message"`
	Path    string             `json:"path"`
	Fields  []fieldDescription `json:"fields"`
}

// fieldDescription is one field of a vendor's JSON.
type fieldDescription struct {
	Name     string             `json:"name"`
	Type     string             `json:"type"`
	Always   bool               `json:"always,omitempty"`
	Personal bool               `json:"personal,omitempty"`
	Accepts  []string           `json:"accepts,omitempty"`
	Fields   []fieldDescription `json:"fields,omitempty"`
}

// describe reads a connector and its descriptors.
func describe(c *connectors.Connector) (description, error) {
	events, err := eventsOf(c)
	if err != nil {
		return description{}, err
	}
	d := description{
		Name:       c.Name,
		Service:    string(c.Service.FullName()),
		EventCount: len(events),
		NamedBy:    naming{c.EventField, c.EventHeader},
		KeyHeader:  c.KeyHeader,
		FormField:  c.FormField,
		Batches:    c.Batches,
		Auth:       string(schemeOf(c)),
		Header:     c.Verification.Header,
		HMAC:       describeHMAC(c.Verification.HMAC),
		Needs:      []string{},
		HTTPS:      c.NeedsHTTPS,
		Answer:     c.Answer,
		MaxBody:    max(c.MaxBody, schema.At("sources.limits.body").Size()),
		Window:     schema.FormatDuration(cmp.Or(c.Window, connectors.DefaultWindow)),
		Delivery:   describeDelivery(c.Delivery),
	}
	if c.NeedsCurrency {
		d.Needs = append(d.Needs, "currency")
	}
	if c.NeedsTimeZone {
		d.Needs = append(d.Needs, "time_zone")
	}
	if schemeOf(c) == source.SchemeHMAC {
		d.Needs = append(d.Needs, source.Uncovered(c)...)
	}
	for _, e := range events {
		input := e.Method.Input()
		d.Events = append(d.Events, eventDescription{
			Name:    e.Name,
			Message: string(input.Name()),
			Path:    pathOf(c, e.Name),
			Fields:  describeFields(input, nil),
		})
	}
	return d, nil
}

// pathOf is where a source named like its connector takes the event. The event is only in it if nothing else names it.
func pathOf(c *connectors.Connector, event string) string {
	path := "/webhooks/" + c.Name
	if schemeOf(c) == source.SchemePathToken {
		path += "/t/{token}"
	}
	if c.EventField == "" && c.EventHeader == "" {
		path += "/" + event
	}
	return path
}

func describeHMAC(vendors *connectors.HMAC) *hmacDescription {
	if vendors == nil {
		return nil
	}
	h := vendors.WithDefaults()
	s := &hmacDescription{
		Header:         h.Header,
		Algorithm:      h.Algorithm,
		Encoding:       h.Encoding,
		Prefix:         h.Prefix,
		Separator:      h.Separator,
		SecretPrefix:   h.SecretPrefix,
		SecretEncoding: h.SecretEncoding,
		Signed:         h.Signed,
	}
	switch {
	case h.TimestampHeader != "":
		s.Timestamp = "header " + h.TimestampHeader
	case h.TimestampPrefix != "":
		s.Timestamp = fmt.Sprintf("part %q", h.TimestampPrefix)
	default:
		return s
	}
	s.Timestamp += ", in " + h.TimestampUnit
	s.Tolerance = schema.FormatDuration(h.Tolerance)
	return s
}

func describeDelivery(p connectors.DeliveryPolicy) deliveryDescription {
	t := deliveryDescription{Retries: []string{}, RetryOn: []string{}, Success: "2xx", Repeats: p.Repeats, Disorder: p.Disorder}
	if p.Timeout > 0 {
		t.Timeout = schema.FormatDuration(p.Timeout)
	}
	if !p.Succeeded(http.StatusAccepted) {
		t.Success = "200 alone"
	}
	if p.Succeeded(http.StatusBadRequest) {
		t.Success = "anything"
	}
	for _, wait := range p.Retries {
		t.Retries = append(t.Retries, schema.FormatDuration(wait))
	}
	if len(p.Retries) == 0 {
		return t
	}
	if p.Again(0) {
		t.RetryOn = append(t.RetryOn, "no answer")
	}
	for _, status := range []int{301, 400, 401, 404, 408, 409, 410, 413, 429, 500, 502, 503, 504} {
		if p.Again(status) {
			t.RetryOn = append(t.RetryOn, strconv.Itoa(status))
		}
	}
	return t
}

// describeFields reads a message's fields, below those of the messages above it. What holds itself is not opened again.
func describeFields(md protoreflect.MessageDescriptor, above []protoreflect.FullName) []fieldDescription {
	if slices.Contains(above, md.FullName()) || strings.HasPrefix(string(md.FullName()), "google.") {
		return nil
	}
	above = append(slices.Clip(above), md.FullName())
	fields := make([]fieldDescription, md.Fields().Len())
	for i := range fields {
		fd := md.Fields().Get(i)
		options, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
		f := fieldDescription{Name: fd.JSONName(), Type: typeText(fd, options), Always: options.GetAlways(), Personal: options.GetPersonal()}
		for _, form := range options.GetAccepts() {
			f.Accepts = append(f.Accepts, strings.ToLower(strings.TrimPrefix(form.String(), "JSON_FORM_")))
		}
		if inner := fd.Message(); inner != nil {
			f.Fields = describeFields(inner, above)
		}
		fields[i] = f
	}
	return fields
}

func typeText(fd protoreflect.FieldDescriptor, options *optionsv1.Field) string {
	text := fd.Kind().String()
	switch {
	case options.GetVerbatim():
		text = "any JSON"
	case fd.IsMap():
		return "object"
	case fd.Message() != nil:
		text = string(fd.Message().Name())
	case fd.Enum() != nil:
		text = string(fd.Enum().Name())
	}
	if fd.IsList() {
		text = "list of " + text
	}
	return text
}

// print writes the description for people.
func (d description) print(b *strings.Builder, s styles) {
	fmt.Fprintf(b, "%s%s%s  %s\n", s.bold, d.Name, s.reset, d.Service)
	d.printFacts(b, s)
	shown := map[string]string{}
	for _, e := range d.Events {
		heading(b, s, e.Name)
		fmt.Fprintf(b, "  %sPOST %s%s\n", s.dim, e.Path, s.reset)
		if as, ok := shown[e.Message]; ok {
			fmt.Fprintf(b, "  as %s\n", as)
			continue
		}
		shown[e.Message] = e.Name
		b.WriteString(fieldTable(e.Fields))
	}
}

// fieldTable is a line a field, those of a message below it.
func fieldTable(fields []fieldDescription) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	printFields(w, fields, "  ")
	_ = w.Flush() // a strings.Builder takes all
	lines := strings.SplitAfter(b.String(), "\n")
	for i, line := range lines {
		if body, ended := strings.CutSuffix(line, "\n"); ended {
			lines[i] = strings.TrimRight(body, " ") + "\n"
		}
	}
	return strings.Join(lines, "")
}

func (d description) printFacts(b *strings.Builder, s styles) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fact := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t"+format+"\n", append([]any{name}, args...)...)
	}
	heading(b, s, "What it is like")
	fact("event named by", "%s", d.NamedBy.text())
	if d.KeyHeader != "" {
		fact("known by", "header %s", d.KeyHeader)
	}
	fact("same body within", "%s is a redelivery, where nothing better tells", d.Window)
	if d.FormField != "" {
		fact("sends", "forms, with the JSON in the field %s", d.FormField)
	}
	if d.Batches {
		fact("sends", "arrays of webhooks too")
	}
	fact("needs", "%s", needsText(d.Needs))
	if d.HTTPS {
		fact("calls", "URLs with https alone")
	}
	fact("answer", "200 %s", d.Answer)
	fact("largest body", "%s", schema.FormatSize(d.MaxBody))
	if d.Header != "" {
		fact("secret in", "header %s", d.Header)
	}
	if d.HMAC != nil {
		d.HMAC.tell(fact)
	}
	d.Delivery.tell(fact)
	_ = w.Flush() // a strings.Builder takes all
}

func (h *hmacDescription) tell(fact func(name, format string, args ...any)) {
	fact("signature in", "header %s: %s in %s", h.Header, h.Algorithm, h.Encoding)
	if h.Prefix != "" {
		fact("  after", "%q", h.Prefix)
	}
	if h.Separator != "" {
		fact("  parts end at", "%q", h.Separator)
	}
	fact("  signed", "%q", h.Signed)
	if h.Timestamp != "" {
		fact("  time in", "%s, at most %s off", h.Timestamp, h.Tolerance)
	}
	if h.SecretPrefix != "" || h.SecretEncoding != "text" {
		fact("  secret is", "%s", strings.TrimSpace(h.SecretPrefix+" "+h.SecretEncoding))
	}
}

// fewWaits is how many waits between attempts are printed.
const fewWaits = 8

func (p deliveryDescription) tell(fact func(name, format string, args ...any)) {
	if p.Timeout != "" {
		fact("waits", "%s for an answer", p.Timeout)
	}
	fact("success is", "%s", p.Success)
	if len(p.Retries) == 0 {
		fact("tries again", "never, as far as is known")
	} else {
		waits, more := p.Retries, ""
		if len(waits) > fewWaits {
			waits, more = waits[:fewWaits], fmt.Sprintf(", … %d times", len(p.Retries))
		}
		fact("tries again", "after %s%s", strings.Join(waits, ", "), more)
		fact("  on", "%s", strings.Join(p.RetryOn, ", "))
	}
	if p.Repeats {
		fact("may send", "again what was answered")
	}
	if p.Disorder {
		fact("order", "is not kept")
	}
}

func printFields(w *tabwriter.Writer, fields []fieldDescription, indent string) {
	for _, f := range fields {
		var marks []string
		if f.Always {
			marks = append(marks, "always there")
		}
		if f.Personal {
			marks = append(marks, "personal")
		}
		if len(f.Accepts) > 0 {
			marks = append(marks, "also "+strings.Join(f.Accepts, ", "))
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\n", indent, f.Name, f.Type, strings.Join(marks, "; "))
		printFields(w, f.Fields, indent+"  ")
	}
}
