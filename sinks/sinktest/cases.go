package sinktest

var (
	needsBreak  = requires{"Break"}
	needsStall  = requires{"Stall"}
	needsPoison = requires{"Poison"}
)

// cases has the sentences of the contract, in its order.
var cases = []testCase{
	{"any order of positions", "Deliver hands events over in the order given, which need not be that of their positions", nil, positions},
	{"order", "Deliver hands events over in the order given", nil, order},
	{"whole", "When n is len(events), err is nil", nil, whole},
	{"durable", "Deliver returns how many of them, from the first on, are durable at the destination", nil, durable},
	{"partial success", "Deliver returns how many of them, from the first on, are durable at the destination", requires{"BreakAfter"}, partial},
	{"crash", "they survive a crash of this process and of the destination", requires{"Crash"}, crash},
	{"says why", "When n is less, err says why", needsBreak, saysWhy},
	{"poison", "ErrPermanent: this event will never be taken; the others may be", needsPoison, poison},
	{"poison again", "ErrPermanent: this event will never be taken, however often it is tried", needsPoison, poisonAgain},
	{"condition", "ErrPermanent is about the event, never about the destination's condition", needsBreak, condition},
	{"pause", "RetryAfterError: the destination names a time before which it should not be tried again", requires{"Throttle"}, pause},
	{"ctx done during", "ctx's error: ctx was done first", nil, ctxDuring},
	{"break and repair", "anything else: it may be tried again", needsBreak, breakAndRepair},
	{"given again", "they will be given again, and so may then be there twice", nil, givenAgain},
	{"break during", "An event that must not be overtaken by a later one with the same key is not, but for repeated suffixes", needsBreak, breakDuring},
	{"stumble", "An event that must not be overtaken by a later one with the same key is not, but for repeated suffixes", requires{"Stumble"}, stumble},
	{"empty", "An empty slice is delivered at once, unless the sink is closed: 0, nil", nil, empty},
	{"unchanged", "Events, and the slice, are neither changed nor kept after the return", nil, unchanged},
	{"not kept", "Events, and the slice, are neither changed nor kept after the return", nil, notKept},
	{"not kept in silence", "Events, and the slice, are neither changed nor kept after the return", needsStall, notKeptInSilence},
	{"silence", "Deliver returns soon after ctx is done", needsStall, silence},
	{"ctx done before", "When ctx is done before the call, nothing is sent", nil, ctxBefore},
	{"largest event", "every sink must take or refuse for good the largest encoded event", nil, largestEvent},
	{"close releases", "Close releases what the sink holds", nil, closeReleases},
	{"close during", "A Deliver under way returns soon, with what it has achieved", nil, closeDuring},
	{"close in silence", "A Deliver under way returns soon, with what it has achieved", needsStall, closeInSilence},
	{"close while away", "Close may be called at any time", needsBreak, closeWhileAway},
	{"deliver after close", "later ones return ErrClosed", nil, deliverAfterClose},
	{"reopen", "What Deliver has reported stays durable", nil, reopen},
	{"close twice", "Close may be called by any goroutine. Further calls return nil and do nothing", nil, closeTwice},
}
