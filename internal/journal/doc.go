// Package journal is Bridge's durable, ordered log of webhooks and the canonical events made of them, on one local disk.
package journal
