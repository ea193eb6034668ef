// Package access decides who may listen: it finds the principal that a call's credential belongs to, and what this principal may see.
//
// # Principals
//
// A [Principal] is a caller that the configuration names. Its [Rules] say which sources, types and groups it may use, and whether it
// may see personal data and raw webhooks. What no rule allows is denied: a list that is empty allows nothing. The decisions are pure
// functions.
//
// While no principal is configured, each admitted caller may see all events. Then raw webhooks need the rights of an operator, as
// everywhere else.
//
// # Credentials
//
// An [Authenticator] knows the bearer tokens of all principals and of the operators, and the patterns of client certificates. One
// function, [Authenticator.Admit], authenticates calls of grpc and requests of net/http alike. Its rules:
//
//   - A call with an authorization header is judged by its token alone: a wrong token is never made good by a certificate.
//   - Otherwise the client's certificate counts, if an authority vouches for it. It belongs to the first principal, in the
//     configuration's order, with a pattern that matches one of its names.
//   - A caller that is not known gets UNAUTHENTICATED. A known one that asks for more than it may gets PERMISSION_DENIED.
//
// A certificate is not verified in the TLS handshake but with each call, so that each refusal has a status and is counted, and so
// that a long connection does not outlive its certificate. The handshake does prove that the client has the certificate's key.
//
// # Calls that stay open
//
// Tokens and authorities change while the program runs. [Authenticator.Recheck] ends the open calls of subscribers whose credential
// no longer counts, with UNAUTHENTICATED: it cancels the contexts from [Authenticator.Follow]. The daemon calls it every few seconds.
//
// [Authenticator.Replace] puts a whole configuration in the place of the last one. A principal with the same rules stays the same one, and its
// calls go on. The calls of one with other rules end with UNAVAILABLE, also if it may see more now: it connects again, and gets what it may
// see. The calls of callers who needed no credential end when one is needed.
package access
