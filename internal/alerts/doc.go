// Package alerts raises alerts about sources that do not work although every health check passes: no webhook arrives, requests
// are refused for a wrong secret, or accepted webhooks go into quarantine.
//
// It reads the Prometheus counters every five seconds, so the code that receives webhooks does not depend on it. An alert sets
// the metric bridge_source_alarm and writes a log line when it is raised, once an hour while it lasts, and when it is cleared.
//
// # Several instances
//
// Where several instances share a log, each reports its counters to the log, and one evaluates the alerts: the holder of a claim. It
// adds up the counters of all instances, so an alert does not depend on which instance a load balancer sends a request to. The
// other instances show no alert as raised. The holder leaves a note with the claim: sums, windows, and the alerts that are raised.
// So the next holder goes on where the last one stopped. After the death of a holder the note is at most fifteen seconds old; what
// was counted since is in the counters of the instances.
//
// # Alerts
//
//   - silent: no webhook was accepted for the configured time. The time starts at the last accepted webhook, or at the last
//     one stored by any instance over the same log, or at the start if neither is known. A request that was refused or has not ended does not
//     count. The journal looks at a bounded number of recent webhooks, so a quiet source may start as unknown.
//   - unauthorized: at least the configured percentage of the latest requests was refused for a wrong secret. The latest
//     requests are those of the last five minutes. If there are fewer than ten, older ones are added, up to ten and none older
//     than a day. Fewer than ten requests raise no alert. A vendor that gave up is still locked out, so the alert lasts at
//     least until a webhook is accepted.
//   - quarantine: at least the configured number of webhooks went into quarantine within the last hour.
package alerts
