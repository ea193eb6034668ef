// Package dispatch carries events out of the journal into push sinks. It is where batching, retrying, pausing and parking
// live, the same way for every sink, so that no sink does any of it. A [Dispatcher] drives one sink; sinks do not wait for
// one another.
//
// # Promises
//
// Each is held by the tests named.
//
//   - Every event from the cursor on is delivered at least once, or parked, or, if retention removed it first, recorded as
//     part of a gap. None is dropped. (TestRestart, TestParked, TestGap, TestRandomFaults)
//   - Events of one source and subject are delivered in the journal's order, but for repeated suffixes and parked events.
//     (TestRetries, TestRandomFaults)
//   - The durable cursor never passes an event that is neither delivered nor durably parked. (TestParkedBeforeCursor,
//     TestStuckSubject)
//   - An error is tried again for as long as it takes, unless it claims [sinks.ErrPermanent]. (TestRetries, TestBackoff)
//   - A pause that the destination asked for is kept. (TestRetryAfter)
//   - With [Config.StrictOrder] nothing overtakes a refused event until an operator lets it pass. (TestStrictOrder)
//   - A write is not cut off: the sink's context is done only when [Config.Grace] has passed since Run's was, or since the
//     claim was lost. (TestShutdown, TestLost)
//   - Once the claim is lost, nothing is saved, and Run ends. (TestLost)
//   - A reader past the log's end stops until an operator moves it. It never jumps. (TestPastTheEnd)
//   - A parked event that an operator asked to retry is delivered again. It stays parked unless the sink took it.
//     (TestRetryParked)
//
// # How
//
// A [Dispatcher] has one lane for each of its sinks, which are several connections to the same destination. A lane is a
// goroutine that reads the journal by itself, leaves out the events whose source and subject belong to other lanes, and
// delivers what is left in batches. So a subject that does not get through holds up the subjects of its own lane only,
// and takes no memory however long it does. Lanes part by at most [Config.Window] positions, which bounds what is
// repeated after a crash; from there on one lane that stands still holds up the others.
//
// The cursor is the lowest position that some lane has not dealt with. It is saved behind the lanes' backs, at most every
// [Config.SaveInterval] or so many events, and when Run ends.
//
// An attempt that fails is followed by a wait that doubles, with jitter, up to a limit. After [Breaker.Failures] in a row
// the lane's breaker opens: nothing is tried for [Breaker.Pause], then one event alone, the probe. When that is taken, or
// refused for good, the destination answers, and the breaker closes. Each lane has its own, so that a subject that
// never gets through cannot keep the others from trying.
//
// An event that is refused for good is parked: stored with the reason and the latest attempts, durably, before the lane
// goes on. With StrictOrder the event blocks its lane instead: the lane raises an alert in log and [Stats], and tries the
// event again every Breaker.Pause, because the destination may have been changed to take it. When an operator lets the event
// pass, it is parked.
//
// Operators' requests are durable, and [journal.Claim] has them. They are looked for every [Config.RequestInterval]. The
// retry of a parked event is one attempt, by the lane of the event's subject, between two batches: the event leaves the dead
// letters, or has one attempt more. While the lane's destination fails, retries wait.
//
// # Past the log's end
//
// A log says [sinks.ErrFuture] only after it has asked its storage, so a cursor past the end means that the log has lost
// events, or is another log. To go on at the end could leave out events, or repeat them. And to try again could succeed once
// the log has grown past the cursor, with other events at the positions. So the lane stops, raises an alert in log and
// [Stats], and reads nothing more in this run. An engine that knows that its disk lost events may move the cursors when it
// opens the log.
//
// # Limits accepted
//
//   - A batch is repeated from the first event that is not known to be durable. Which duplicates that makes is the
//     sink's to say.
//   - Each lane reads all of the journal.
//   - While a reader is paused, its operators' requests wait.
package dispatch
