// Package signature makes and checks the signatures of webhooks: an HMAC (RFC 2104) over a request, with a secret that
// sender and receiver share.
//
// How a vendor signs is a [connectors.HMAC], which is data. [Compile] turns it and the secrets into a [Scheme], and reports
// everything that is wrong with them. A receiver calls [Scheme.Precheck] with the headers alone, before it reads a byte of
// the body, and [Scheme.Verify] with all of the request; a sender calls [Scheme.Sign].
//
// # What a signature proves
//
// That someone who knows the secret signed what the scheme's template makes of this request, and of no other that differs
// in a part of it: no two that are believed sign the same bytes, unless one's address (method, host, path or URL) ends in
// what the other's body begins with. What the template leaves out is proved by nothing. A scheme that does not sign the
// body, that has a time and does not sign it, or that has a header's value beside another value with nothing to tell where
// it ends, proves less than it seems to and is not compiled. A request is not believed if a signed header holds the text
// that is to set it apart from its neighbour. Without a time, nothing but the dedupe key bounds how long a captured request
// may be sent again; with one, it is good for as long as the time is, at most twice the tolerance.
//
// # Strangers
//
// Everything in a request may be hostile. A header that must be there once and comes twice is malformed, a signature's
// header has at most 8 KiB and 16 signatures, a time at most 16 digits. All secrets are tried against all signatures, so
// that how long a check takes tells their numbers and the body's length, and nothing else.
//
// # Secrets
//
// No error holds a secret, a signature, or any value that came with a request. Errors of a request name headers, and how far a
// time may be off, as they are configured; errors of a scheme quote nothing of it.
package signature
