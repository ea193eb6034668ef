// Package pgtest runs real PostgreSQL servers for tests: a primary and streaming standbys, each in its own processes on loopback, and
// proxies in front of them that break the connections of a client at a chosen message.
//
// Tests that use it are skipped unless the environment has BRIDGE_TEST_POSTGRES=1; with it, a missing server fails them.
// BRIDGE_TEST_POSTGRES_BIN is the folder of the server's programs. By default it is the newest of /usr/lib/postgresql/*/bin, or the folder
// of postgres in PATH.
//
// A server refuses to run as root. Then it runs as the user postgres.
//
// [Shared] has one cluster for all tests of a package, so that a test costs a schema and not a server. [Main] ends it.
package pgtest
