package console

import "net/http"

// page is one line of the table of pages.
type page struct {
	// method and path, which goes on from [Path], are a pattern of [http.ServeMux].
	method, path string
	// title is the heading of the page. nav is its label in the navigation, if it has a place there.
	title, nav string
	// template is the file in templates that shows what handle returns.
	template string
	// handle returns what the page shows, or a [redirect]. The request's context has the operator's identity and a deadline. Errors are those of
	// the services, whose sentences are for operators, and *problem.
	handle func(*Console, *http.Request) (any, error)
}

// pages is the table of pages. Their order is that of the navigation.
var pages = []page{
	{"GET", "{$}", "Overview", "Overview", "overview.html", (*Console).overview},
	{"GET", "webhooks", "Webhooks", "Webhooks", "webhooks.html", (*Console).webhooks},
	{"POST", "webhooks", "Webhooks", "", "webhooks.html", (*Console).webhooks},
	{"GET", "webhooks/{id}", "Webhook", "", "webhook.html", (*Console).webhook},
	{"POST", "webhooks/{id}", "Webhook", "", "webhook.html", (*Console).webhook},
	{"POST", "webhooks/{id}/repair", "Repair", "", "repair.html", (*Console).repair},
	{"GET", "quarantine", "Quarantine", "Quarantine", "quarantine.html", (*Console).quarantine},
	{"POST", "quarantine/retry", "Retry", "", "retry.html", (*Console).retry},
}

// missing is the page for paths that are no page's.
var missing = page{title: "Not found", handle: func(*Console, *http.Request) (any, error) {
	return nil, &problem{http.StatusNotFound, "There is no such page."}
}}

// redirect is a view that shows another page instead.
type redirect string

// problem is an error with the status of the answer and a sentence for the operator.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }
