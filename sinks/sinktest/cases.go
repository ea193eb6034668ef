package sinktest

var (
	needsBreak  = requires{"Break"}
	needsStall  = requires{"Stall"}
	needsPoison = requires{"Poison"}
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
}
