// Package subscribe serves bridge.stream.v1.EventStreamService beyond Tail: Subscribe, Pull, Acknowledge, and the calls that look at
// groups and change them. What the calls promise is said in proto/bridge/stream/v1. Package groups keeps the promises about groups;
// package grpcstream reads the log, makes tokens, and knows what a caller may see.
//
// # Cost of a client
//
// A stream of Subscribe has a goroutine that receives, one that sends, one that waits for deliveries and, with a group, one that writes
// answers. None reads ahead: each hands over one message at a time. Deliveries are asked for as far as there is credit and no further, so
// what is in memory for a client is one message, and a read of the log at most. Answers that wait to be written are bounded by number and
// by ids; a client that sends more is read no further until they are written, so it fills its own flow-control window. A client that does
// not read blocks the goroutine that sends, and then the others wait for it. What is outstanding for it runs into its deadline. A member of
// a group that takes no events for twice the deadline leaves the group, so that its shares go to others.
//
// # Results
//
// The results of answers are sent in the order of the answers. Those that wait at the same time are written together.
package subscribe
