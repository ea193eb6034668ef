package console

import (
	"net/http"
	"slices"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

const (
	// listSize is how many webhooks a list has.
	listSize = 50
	// listPatience is how long the search for a list may take, in milliseconds, and longPatience if the operator asks for more.
	listPatience, longPatience = 40, 1500
)

// webhooksView is a list of webhooks, and the form to search for others.
type webhooksView struct {
	Search   search
	Outcomes []string
	Sources  []Source
	// Events are names that the form offers.
	Events []string
	Rows   []webhookRow
	// Examined is how much was looked at, Unit what, and To how far back; nil is to the end.
	Examined uint64
	Unit     string
	To       any
	// Older is the search that goes on, or nil.
	Older *search
	// Full says that the list ended because it has enough.
	Full bool
}

type webhookRow struct {
	*adminv1.Webhook

	State badge
}

func (c *Console) webhooks(r *http.Request) (any, error) {
	s, err := searchOf(r)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodPost && !s.Private() {
		return redirect(s.URL()), nil
	}
	filter, err := s.filter()
	if err != nil {
		return nil, err
	}
	patience := uint32(listPatience)
	if s.Long {
		patience = longPatience
	}
	found, err := c.admin.ListWebhooks(r.Context(), &adminv1.ListWebhooksRequest{
		Filter: filter, PageSize: listSize, PageToken: s.Token, PatienceMs: patience,
	})
	if err != nil {
		return nil, err
	}
	v := webhooksView{Search: s, Sources: c.sources(), Examined: found.GetExamined(), Unit: "webhooks", Full: len(found.GetWebhooks()) >= listSize}
	for _, o := range outcomes {
		v.Outcomes = append(v.Outcomes, o.Name)
	}
	v.Events = eventNames(v.Sources, s.Source)
	for _, w := range found.GetWebhooks() {
		v.Rows = append(v.Rows, webhookRow{w, outcomeBadge(w.GetOutcome())})
	}
	if s.Subject != "" {
		v.Unit = "events"
	}
	if token := found.GetNextPageToken(); token != "" {
		older := s
		older.Token, older.Long = token, !v.Full
		v.Older, v.To = &older, found.GetExaminedTo()
	}
	return v, nil
}

// eventNames are the names of the events of one source, or of all.
func eventNames(sources []Source, of string) (names []string) {
	for _, s := range sources {
		if of == "" || of == s.Name {
			names = append(names, s.Events...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
