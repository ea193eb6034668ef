// Package handover passes a server's listening sockets from one process to the next, so that no connection is refused while the
// server is replaced.
//
// # Sockets
//
// A listening socket lives for as long as some process has it open. The kernel accepts connections for it, and keeps them, while no
// process does. [Inherit] finds the sockets that systemd opened for the program (socket activation), or that its predecessor passed on.
// [Sockets] keeps each of them open apart from its listener. So a listener can be closed, to stop accepting, and the connections that come
// meanwhile wait.
//
// # A hand-over
//
// The storage has room for one process at a time. So a hand-over has three steps, by lines of text on a socket between the two:
//
//	predecessor                                successor
//	[Start] starts the program again  ──────►  reads its configuration and checks it
//	                                  ◄──────  "prepared" [Predecessor.Prepared]
//	finishes what is in flight,
//	closes its storage
//	[Successor.LetGo] "go"            ──────►  opens the storage and the listeners
//	waits [Successor.AwaitServing]    ◄──────  "serving" [Predecessor.Serving]
//	ends
//
// A successor that ends before "prepared" changes nothing. One that ends after it, before "serving", leaves the storage to its predecessor,
// which opens it again. If the predecessor ends, the successor goes on: the storage is free then.
package handover
