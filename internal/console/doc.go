// Package console is the operators' web pages: what came in, what became of it, and what to do about it.
//
// # What it is
//
// Pages rendered on the server from templates that are embedded in the program, with one style sheet. They need no script. htmx refines them:
// it loads parts of a page again. A page is one line of the table in pages.go, one handler, which returns what the page shows, and one
// template.
//
// # What it may do
//
// The console has no way of its own to the journal. It calls the operator's service and the service of subscriptions in process, with the
// identity of the operator who asks, so that rights, masking, logs and limits are theirs. It shows personal data only after a request that asks
// the service to reveal it.
//
// # Who may see it
//
// An operator signs in with a token, by a form. The session's id is in a cookie that scripts cannot read and that other sites' requests do not
// carry; the token stays in the server's memory. Each request of a session is admitted by its token again: a token that is
// withdrawn ends its sessions. Sessions are bounded in number and time. Where the listener needs no token, nobody signs in.
//
// Requests that change something must come from the console's own pages: [http.CrossOriginProtection] refuses the others.
//
// # What a page may load
//
// Its Content-Security-Policy permits scripts, styles, images and requests of its own host, and no inline script or style. Webhooks are
// strangers' texts: they are shown as text, escaped by html/template, and cut where they are large.
//
// # What a page costs
//
// A page makes a few calls of the services, each bounded by [Config.Patience]. A list reads one page of the journal, says how far it has
// searched, and offers to go on from there.
package console
