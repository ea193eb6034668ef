// Package dispatch carries events out of the journal into push sinks. It is where batching, retrying, pausing and parking
// live, the same way for every sink, so that no sink does any of it. A [Dispatcher] drives one sink; sinks do not wait for
// one another.
//
// # Promises
//
// Each is held by the tests named.
//
//   - Every event from the cursor on is delivered at least once, or parked, or, if the journal gave it up first, recorded
//     as part of a gap. None is dropped. (TestRestart, TestParked, TestGap, TestRandomFaults)
//   - Events of one source and subject are delivered in the journal's order, but for repeated suffixes and parked events.
//     (TestRetries, TestRandomFaults)
//   - The durable cursor never passes an event that is neither delivered nor durably parked. (TestParkedBeforeCursor,
//     TestStuckSubject)
//   - An error is tried again for as long as it takes, unless it claims [sinks.ErrPermanent]. (TestRetries, TestBackoff)
//   - A pause that the far side asked for is kept. (TestRetryAfter)
//   - With [Config.StrictOrder] nothing overtakes a refused event until [Dispatcher.Pass]. (TestStrictOrder)
//   - A write is not cut off: the sink's context is done only when [Config.Grace] has passed since Run's was.
//     (TestShutdown)
//
// # How
//
// A [Dispatcher] has one lane for each of its sinks, which are several connections to the same far side. A lane is a
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
// refused for good, which an answering far side does, the breaker closes. Each lane has its own, so that a subject that
// never gets through cannot keep the others from trying.
//
// An event that is refused for good is parked: stored with the reason and the latest attempts, durably, before the lane
// goes on. With StrictOrder the lane stands before it instead, raises an alarm in log and [Stats], and tries it again every
// Breaker.Pause, for the far side may be told to take it. Pass parks it.
//
// # Limits accepted
//
//   - A batch is repeated from the first event that is not known to be durable. Which duplicates that makes is the
//     sink's to say.
//   - Each lane reads all of the journal.
//   - Parked events stay until they are unparked, whatever room they take.
package dispatch
