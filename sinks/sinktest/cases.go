package sinktest

var (
	needsBreak  = requires{"Break"}
	needsStall  = requires{"Stall"}
	needsPoison = requires{"Poison"}
	needsResume = requires{"OpenFrom"}
)

// cases has the sentences of the contract, in its order.
var cases = []testCase{
	{"any order of positions", "Deliver delivers the events in the order of the slice, which is not always the order of their positions", nil, positions},
	{"order", "Deliver delivers the events in the order of the slice", nil, order},
	{"whole", "When n is len(events), err is nil", nil, whole},
	{"durable", "Deliver returns n: the first n events are durable at the destination", nil, durable},
	{"partial success", "Deliver returns n: the first n events are durable at the destination", requires{"BreakAfter"}, partial},
	{"crash", "They survive a crash of this process and of the destination", requires{"Crash"}, crash},
	{"error", "When n is less, err is about events[n]", needsBreak, saysWhy},
	{"poison", "ErrPermanent: the destination will never accept this event; it may accept the others", needsPoison, poison},
	{"poison again", "ErrPermanent: the destination will never accept this event", needsPoison, poisonAgain},
	{"condition", "ErrPermanent: the error is about the event, never about the destination's condition", needsBreak, condition},
	{"pause", "RetryAfterError: the destination asks for a pause before the next attempt", requires{"Throttle"}, pause},
	{"ctx done during", "ctx's error: ctx was done first", nil, ctxDuring},
	{"break and repair", "any other error: the caller may try the event again", needsBreak, breakAndRepair},
	{"given again", "The caller delivers them again, so the destination may then have them twice", nil, givenAgain},
	{"break during", "at the destination no event overtakes an earlier one with the same key, except in such repeated suffixes", needsBreak, breakDuring},
	{"stumble", "at the destination no event overtakes an earlier one with the same key, except in such repeated suffixes", requires{"Stumble"}, stumble},
	{"empty", "For an empty slice, Deliver returns 0, nil at once, unless the sink is closed", nil, empty},
	{"unchanged", "It changes neither the slice nor the events, and uses neither after it has returned", nil, unchanged},
	{"not kept", "It changes neither the slice nor the events, and uses neither after it has returned", nil, notKept},
	{"not kept in silence", "It changes neither the slice nor the events, and uses neither after it has returned", needsStall, notKeptInSilence},
	{"silence", "It returns soon after ctx is done", needsStall, silence},
	{"ctx done before", "When ctx is done before the call, it sends nothing", nil, ctxBefore},
	{"largest event", "LargestEvent is the largest encoded event that a sink gets; it delivers it or refuses it with ErrPermanent", nil, largestEvent},
	{"close releases", "Close releases the sink's resources", nil, closeReleases},
	{"close during", "A Deliver under way returns soon, with the number of events that are durable by then", nil, closeDuring},
	{"close in silence", "A Deliver under way returns soon, with the number of events that are durable by then", needsStall, closeInSilence},
	{"close while away", "Close may be called at any time", needsBreak, closeWhileAway},
	{"deliver after close", "Later calls of Deliver return ErrClosed", nil, deliverAfterClose},
	{"reopen", "Events that Deliver has reported stay durable", nil, reopen},
	{"close twice", "Close may be called by any goroutine. Further calls of Close return nil and do nothing", nil, closeTwice},

	{"new destination", "Resume is false for a destination without a position", needsResume, newDestination},
	{"position", "Deliver stores the position after the last event together with the events", needsResume, position},
	{"crash before the cursor", "after a crash between a delivery and the save of the cursor, the dispatcher asks the destination and goes on from there", requires{"OpenFrom", "Crash"}, crashBeforeCursor},
	{"in doubt", "Resume settles it: either its events and its position are durable when Resume returns, or they never arrive", requires{"OpenFrom", "Break"}, inDoubt},
	{"asked while away", "Resume: A destination that does not answer is an error", requires{"OpenFrom", "Break"}, askedWhileAway},
	{"refused part", "When it returns n, the first n events and the position after them are durable", requires{"OpenFrom", "Poison"}, refusedPart},
	{"fenced", "an earlier opening's Deliver, its MoveTo and its next Resume fail with ErrFenced", requires{"OpenFrom", "several openings"}, fenced},
	{"fenced during", "Once Resume has returned, what an earlier opening sends never arrives", requires{"OpenFrom", "several openings"}, fencedDuring},
	{"one opening", "A destination that has one writer by itself may refuse the second opening instead", requires{"OpenFrom", "OneOpening"}, oneOpening},
	{"moved", "MoveTo makes p the destination's position, forwards or back, and returns once that is durable. It stores no event", needsResume, moved},
	{"earlier events", "Deliver never moves the stored position back: earlier events are delivered like others", needsResume, earlierEvents},
	{"restored", "the destination has all events before the position that were for the sink, and none from it on", requires{"OpenFrom", "Backup"}, restored},
	{"other log", "Log is the ID of the log that the position belongs to", needsResume, otherLog},
	{"other sink", "Sink is the configured sink's name. It is unique for the log", requires{"OpenFrom", "SharedDestination"}, otherSink},
	{"resume after close", "Resume, MoveTo: ErrClosed, ctx's", needsResume, resumeAfterClose},
}
