// Package dispatch delivers events from the journal to push sinks. It batches, retries, pauses and parks, in the same way for
// every sink, so that no sink does any of it. A [Dispatcher] drives one sink. Sinks do not wait for one another.
//
// # Promises
//
// The tests in brackets check them.
//
//   - Every event from the cursor on is delivered at least once, or parked, or, if retention removed it first, recorded as
//     part of a gap. None is dropped. (TestRestart, TestParked, TestGap, TestRandomFaults)
//   - To a [sinks.Resumer] every event is delivered exactly once, across crashes of this process and of the destination, and across
//     answers that are lost. (TestResume, TestAnswerLost, TestRandomResumes)
//   - An event that was parked before a crash is not delivered to a Resumer after it, unless an operator asks for that, so its retry
//     delivers it once. (TestParkedBeforeCrash, TestParkedBeforeFirstPosition)
//   - Nothing is delivered to a Resumer before it has said what it has reached. (TestResumeWhileAway)
//   - A Resumer that lost events gets them again. The ones that the journal no longer has are a gap. (TestDestinationRestored,
//     TestDestinationRestoredMeanwhile, TestDestinationRestoredTooLate)
//   - A Resumer's position that the log does not know leaves the sink at its cursor. The result is logged and counted, and the
//     destination gets a position of this log before the first event. (TestOtherLog, TestLogRestored)
//   - An operator's move counts more than a Resumer's position, once. (TestOperatorMoves)
//   - The durable cursor never passes a Resumer's position. A retry does not move that position. (TestStoresWhatIsLeftOut,
//     TestRetryBehindPosition, TestRandomResumes)
//   - Once a Resumer is fenced, nothing is saved, and Run ends. (TestFenced)
//   - Events of one source and subject are delivered in the journal's order, except for repeated suffixes and parked events.
//     (TestRetries, TestRandomFaults)
//   - The durable cursor never passes an event that is neither delivered nor durably parked. (TestParkedBeforeCursor,
//     TestStuckSubject)
//   - An event that [Config.Choose] leaves out is never delivered and never parked, and holds nothing back. (TestChoose)
//   - An event is tried again without an end, unless the error has [sinks.ErrPermanent] in its chain. (TestRetries, TestBackoff)
//   - A pause that the destination asks for is observed. (TestRetryAfter)
//   - With [Config.StrictOrder] nothing overtakes a refused event until an operator lets it pass. (TestStrictOrder)
//   - A write is not cut off: the sink's context is done only when [Config.Grace] has passed since Run's was, or since the
//     claim was lost. (TestShutdown, TestLost)
//   - A destination that wants no more events gets none until an operator resumes the sink. (TestDisabled)
//   - Once the claim is lost, nothing is saved, and Run ends. (TestLost)
//   - A reader past the log's end stops until an operator moves it. It never jumps. (TestPastTheEnd)
//   - A reader stops before an event that the log cannot read, and continues when it can, or when an operator moves it. It
//     never leaves the event out by itself. (TestDamage)
//   - An event about which the route cannot decide is parked, or waited at with StrictOrder. It is neither lost nor delivered.
//     (TestUndecided)
//   - A replay delivers the events that it chooses once more, marked, in order for each subject, after the sink's own deliveries of
//     them. It goes on where it was after a crash, moves neither the cursor nor a destination's position, and holds up new events
//     for one batch at a time. (TestReplay, TestReplayGoesOn, TestReplayHoldsUpNothing, TestReplayOfResumer)
//   - A parked event that an operator asked to retry is delivered again. It stays parked unless the sink has delivered it.
//     (TestRetryParked)
//
// # How
//
// A [Dispatcher] has one lane for each of its sinks, which are several connections to the same destination. A lane is a
// goroutine that reads the journal by itself, skips the events whose source and subject belong to other lanes, and delivers the
// others in batches. So a subject that cannot be delivered blocks only the subjects of its own lane, and costs no memory,
// however long it takes. Lanes are at most [Config.Window] positions apart, which bounds the repetition after a crash. A lane
// that has stopped blocks the others when they reach that distance.
//
// A lane that has the sink for itself reads the next batch while one is delivered, if there is a backlog. A [sinks.Preparer] prepares
// its events meanwhile, unless a route chooses some of them. (BenchmarkRoundTrips, TestPrefetch, TestPrepare)
//
// The cursor is the lowest position that some lane has neither delivered nor parked. A goroutine of its own saves it, at most
// every [Config.SaveInterval] or [Config.SaveEvents], and when Run ends.
//
// After a failed attempt the lane waits. The wait doubles, with jitter, up to a limit. After [Breaker.Failures] in a row the
// lane's breaker opens: the lane tries nothing for [Breaker.Pause], then one event alone, the probe. If that is delivered, or
// refused permanently, the destination is reachable, and the breaker closes. Each lane has its own breaker, so that a subject
// that cannot be delivered does not stop the attempts of the others.
//
// An event that is refused permanently is parked: it is stored with the reason and the latest attempts, durably, before the lane
// continues. With StrictOrder the event blocks its lane instead: the lane raises an alert in log and [Stats], and tries the
// event again every Breaker.Pause, because the destination may accept it after a change. When an operator lets the event pass,
// it is parked.
//
// Operators' requests are durable, and [journal.Claim] has them. The dispatcher reads them every [Config.RequestInterval]. The
// retry of a parked event is one attempt, by the lane of the event's subject, between two batches. Then the event leaves the dead
// letters, or has one attempt more. While the lane's destination fails, retries wait.
//
// # Exactly once
//
// A [sinks.Resumer] stores its position in the step that stores the events. Its lane asks it before the first delivery, and again after
// each call that failed: then the events before the answer are not delivered again. The cursor is at most what the destination has
// stored, so a destination behind the cursor has lost events. Where no event moves the destination's position, because the events were
// left out, parked or missing, the lane moves it by itself: [Config.SaveInterval] after it passed them, and when Run ends.
//
// Two exceptions repeat events, and both are an operator's: the retry of a parked event whose answer was lost, and a
// restored backup of the destination or of the journal.
//
// A replay is one of these requests. A goroutine reads its events in chunks, and gives each lane its part of a chunk. A lane
// delivers one batch of a replay between two of its own. When all lanes have delivered their parts, the next chunk begins, and
// the progress is saved. So what is saved counts each event once, though a crash repeats the events after it. A replay that fails waits
// with the backoff of attempts; the lane's breaker is for its own events alone.
//
// # Past the log's end
//
// A log returns [sinks.ErrFuture] only after it has asked its storage, so a cursor past the end means that the log has lost
// events, or is another log. If the lane continued at the end, it could skip events or repeat them. If it tried again, it could
// succeed after the log has grown past the cursor, with other events at the positions. So the lane stops, raises an alert in log and
// [Stats], and reads nothing more in this run. An engine that knows that its disk lost events may move the cursors when it
// opens the log.
//
// # Limits accepted
//
//   - A batch is repeated from the first event that is not known to be durable. Which duplicates that makes is the
//     sink's to say.
//   - Each lane reads all of the journal.
//   - While a reader is paused, its operators' requests wait.
//   - A replay delivers at least once, also to a destination that stores its position: the position is about the sink's own deliveries.
package dispatch
