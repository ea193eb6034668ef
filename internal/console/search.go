package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// search is what an operator looks for, as the fields of the form.
type search struct {
	Source, Event, Outcome, Reason, Since, Until string
	// Subject and Text may be personal data: they are in no URL.
	Subject, Text string
	// Token goes on where a page ended. Long lets a page take longer.
	Token string
	Long  bool
}

// outcomes are the choices of the form, by the names that URLs have.
var outcomes = []struct {
	Name  string
	value adminv1.Outcome
	tone  string
}{
	{"accepted", adminv1.Outcome_OUTCOME_ACCEPTED, "good"},
	{"unmapped", adminv1.Outcome_OUTCOME_UNMAPPED, "warn"},
	{"quarantined", adminv1.Outcome_OUTCOME_QUARANTINED, "bad"},
	{"released", adminv1.Outcome_OUTCOME_RELEASED, "good"},
	{"duplicate", adminv1.Outcome_OUTCOME_DUPLICATE, "plain"},
	{"ping", adminv1.Outcome_OUTCOME_PING, "plain"},
}

// outcomeBadge is an outcome in a word.
func outcomeBadge(o adminv1.Outcome) badge {
	for _, x := range outcomes {
		if x.value == o {
			return badge{x.Name, x.tone}
		}
	}
	return badge{"not kept", "plain"}
}

// searchOf reads the form of a request, from the URL and the body.
func searchOf(r *http.Request) (search, error) {
	if err := r.ParseForm(); err != nil {
		return search{}, formProblem(err)
	}
	field := func(name string) string { return strings.TrimSpace(r.Form.Get(name)) }
	return search{
		Source: field("source"), Event: field("event"), Outcome: field("outcome"), Reason: field("reason"),
		Since: field("since"), Until: field("until"), Subject: field("subject"), Text: r.PostForm.Get("text"),
		Token: field("token"), Long: field("long") != "",
	}, nil
}

// formProblem is the error of a form that cannot be read.
func formProblem(err error) error {
	if e := errorOf(err); e.Status == http.StatusRequestEntityTooLarge {
		return err
	}
	return &problem{http.StatusBadRequest, "The form cannot be read."}
}

// Private reports whether the search must not stand in a URL.
func (s search) Private() bool { return s.Subject != "" || s.Text != "" }

// URL is the page of a search that is not private.
func (s search) URL() string {
	v := url.Values{}
	for name, value := range s.fields() {
		if value != "" && name != "subject" && name != "text" {
			v.Set(name, value)
		}
	}
	if len(v) == 0 {
		return Path + "webhooks"
	}
	return Path + "webhooks?" + v.Encode()
}

// fields are the form's fields that are set.
func (s search) fields() map[string]string {
	all := map[string]string{
		"source": s.Source, "event": s.Event, "outcome": s.Outcome, "reason": s.Reason, "since": s.Since, "until": s.Until,
		"subject": s.Subject, "text": s.Text, "token": s.Token,
	}
	if s.Long {
		all["long"] = "1"
	}
	return all
}

// Fields are the hidden fields with which a form goes on with the search.
func (s search) Fields() map[string]string { return s.fields() }

// filter returns the search as the service's filter.
func (s search) filter() (*adminv1.Filter, error) {
	f := &adminv1.Filter{Source: s.Source, VendorEvent: s.Event, Reason: s.Reason, Subject: s.Subject, Text: s.Text}
	if s.Outcome != "" {
		for _, o := range outcomes {
			if o.Name == s.Outcome {
				f.Outcome = o.value
			}
		}
		if f.GetOutcome() == adminv1.Outcome_OUTCOME_UNSPECIFIED {
			return nil, &problem{http.StatusBadRequest, "There is no such outcome."}
		}
	}
	var err error
	if f.Since, err = formTime("From", s.Since); err != nil {
		return nil, err
	}
	f.Until, err = formTime("Until", s.Until)
	return f, err
}

// formTime reads a field of type datetime-local, in UTC. An empty one is nil.
func formTime(label, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no time is no error
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04:05.999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return timestamppb.New(t), nil
		}
	}
	return nil, &problem{http.StatusBadRequest, label + " is no time such as 2026-01-31T15:04, in UTC."}
}
