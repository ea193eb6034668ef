// Package subscribetest checks the subscription service over an engine with random histories: whole servers, clients that speak the protocol, and
// what goes wrong between them.
//
// A history has one or two groups with members on streams and workers that pull, and clients without a group that follow the log with Tail and with
// Subscribe. Meanwhile webhooks come in. Members join, leave, are cut off without a word, stop reading, and are slow; they acknowledge, refuse,
// and say nothing. Servers are killed, restarted in order, and frozen. Groups are moved, dead letters replayed and discarded, and retention passes
// positions. In the end all that goes wrong stops, and everything has to come to rest.
//
// Package groupstest judges what the groups did, a [follower] what the others got. Everything is recorded where the server hands it to the transport, so
// that "after the AckResult was sent" is meant literally. What a delivery may do that began before is said in groupstest: it comes from a server that was
// killed, frozen or cut off, or to a client whose connection was full; then its acknowledgement must be stale.
//
// The clock may be that of a synctest bubble. Then a history of minutes takes some milliseconds, and a seed repeats it nearly.
package subscribetest
