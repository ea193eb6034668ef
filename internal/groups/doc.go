// Package groups runs subscription groups: it gives the events of the log to members that share the work, and remembers what they
// have dealt with. It knows no protocol. Package subscribe speaks gRPC with it.
//
// # Terms
//
// A group has a filter, a policy, and 256 shares. An event belongs to the share that the hash of its source and subject names;
// an event without a subject to that of its id. A member is somebody who takes events: a stream, or all workers that pull from one server together. A
// delivery is one event given to one member once. It is outstanding until it is acknowledged, fails, or is taken away.
// A delivery fails when the member says so, when its deadline passes, or when the member leaves while it is outstanding.
//
// # Promises
//
// TestHistories checks all of them together, with the checker of package groupstest.
//
//   - Every event behind the group's start that passes the filter is delivered, until it is acknowledged, skipped, parked, or no longer kept.
//   - Nothing from before the group's start is delivered.
//   - An event that was acknowledged is not delivered again once Acknowledge has returned, except by a seek. A server that was frozen
//     meanwhile, and a network that is slow, may still bring a delivery that began before; its acknowledgement is stale.
//   - Of each source and subject one event is outstanding at a time, and a later one is delivered only when the earlier one was
//     acknowledged, skipped or parked. This holds while members join, leave, are killed and frozen, and across instances.
//   - An event whose delivery failed is delivered again after the policy's pause, with a greater attempt. After max_attempts it is parked.
//   - With strict_order, the later events of a parked event's subject are parked behind it, and come back after it.
//   - A parked event stays until it is acknowledged in a replay, or discarded.
//   - Members of one group have about the same number of shares: at most one more than the average, rounded up. A member that joins or leaves moves few shares.
//   - A share moves from a member to another one when nothing of it is outstanding, or at the deadline of what is.
//   - A share whose events no longer are kept does what the policy says, never a silent gap.
//   - A group costs memory for what is outstanding and for the positions that wait behind it, both bounded, and for no events.
//
// # How
//
// A share's state, which the journal stores, is a position and what is known behind it: the positions that are done, and the failed attempts of
// those that are not. Everything before the position is done. A state is changed by pure operations (acknowledge, fail, skip, park), which are
// repeated on the stored state when a write meets another one. Before a failed event is delivered again, the failure is written. So a
// delivery that another instance acknowledged meanwhile is found out in time: the write is refused, the state read again.
//
// An instance has one session, by which it owns shares. A manager looks at each group that has members here, when the journal says that
// something changed, and every second: from the list of all members of all instances it computes who should have each share (rendezvous hashing with bounded loads, so that
// every instance computes the same). It stops deliveries from a share that should be elsewhere, releases the share when nothing of it is outstanding, and takes the free
// shares that should be here.
//
// Each member has its own reader of the log, from the lowest position that one of its shares has still to look at. So a slow
// member costs the others nothing. Readers near the log's end share one tail in memory. What a subject's outstanding event holds back is remembered as
// a position, and read again when its turn has come.
//
// Acknowledgements of all members of an instance are written together: one write is under way at a time, and the next one has what came meanwhile. A
// position that moved because nothing passed the filter is written every few seconds.
//
// # Limits
//
//   - A share looks at no further events while 2,048 of its events are outstanding, failed, or held back; a member, while 20,000 of its shares' events are.
//   - A share has at most 64 replays under way.
//   - When a group turns strict order on, later events of a parked event's subject may still be delivered until the parked events were read, which takes a second or so.
//   - After a seek, a delivery from before it may still come for a moment. Its acknowledgement is stale.
//   - The acknowledgement of a pull at another instance lets the next event of its subject go on within a second or so.
package groups
