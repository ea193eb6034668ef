// Package ingress is the edge that faces vendors: it finds the source, checks who is calling, bounds what a call may cost,
// finds the event's name, has the connector's generated gateway decode the body, and answers when, and only when, the
// webhook is durable.
//
// # Paths
//
//	/webhooks/{source}[/{event}]
//	/webhooks/{source}/t/{token}[/{event}]
//
// The second form is for sources that authenticate by path token, and only for them. A slash at the end is accepted;
// nothing redirects, since vendors do not follow.
//
// # Order of checks
//
// Source, method and secret are checked before the first byte of the body is read, so that strangers cost nothing. Rate,
// quota and room for the body come after, so that strangers cannot use them up. From then on the sender may hang up: the
// webhook is taken in under a deadline of our own. A large one waits for its turn first: what it becomes in memory is many
// times its body.
//
// A signature shows only with the body whose a request is. What its headers alone tell is checked before; then the body is
// read as any stranger's, into room that is set aside for such bodies, and verified as it came over the wire, before it is
// decompressed or looked at in any other way. The URL that was signed is the one that the sender called: the configuration
// says what it begins with where a proxy changes that.
//
// # What a body is
//
// JSON, unless the connector says more of its vendor: the field of a form that holds JSON, text that it mends, or an array of
// webhooks. The webhooks of an array are read one by one and made durable all at once. The event's name is in the body, the
// URL or a header; those that name it must agree. What is stored is what was received.
//
// # What a verified sender gets
//
// Success for all that was made durable, also for what was quarantined. A webhook under a content encoding that we cannot
// undo, corrupt or unknown, is such a case: it is kept as it came. So are a form without its field, and an array that is no
// batch of webhooks. Where the source refuses what cannot be decoded, the answer is 400, unless the fault is ours. A body that
// is too large is 413, one that does not arrive 408 or 400, too many or too much 429; whatever is our own fault is 503 with
// Retry-After, never a 4xx.
//
// # The gateway
//
// Every webhook that is decoded passes the handler that grpc-gateway generated for its RPC. The handler's call ends in a
// connection that keeps the message and returns: decoding stores nothing. The generated code sees a request of our own making, with the body and nothing else of the sender's: no
// header, no query, no path, no method.
package ingress
