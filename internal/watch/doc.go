// Package watch raises alarms about sources that are ill although every health check is well: nothing comes any more, what
// comes is refused for its secret, what is taken makes no events.
//
// It reads the counters that are there for Prometheus, every five seconds, so that nothing on a webhook's way knows of it.
// What it finds is a metric, bridge_source_alarm, and a line in the log when an alarm is raised, each hour while it lasts,
// and when it is cleared.
//
// # Alarms
//
//   - silent: no webhook was taken in for as long as the source's setting, counted from the last one, from the one that was
//     stored last before the start, or from the start where none is known. A request that was refused is no webhook taken in,
//     and one under way is none yet.
//   - unauthorized: at least the source's share of the latest requests was refused for its secret. The latest are those of
//     the last five minutes or, where these are fewer than ten, as many more as make ten, none older than a day; fewer than
//     ten say nothing. A vendor that has given up is as locked out as before, so once it is raised, the alarm lasts at
//     least until a webhook is taken in.
//   - quarantine: at least as many webhooks as the source's setting went into quarantine within the last hour.
package watch
