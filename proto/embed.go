// Package proto has Bridge's public schemas as files: those of the events, of the services and of the vendors' webhooks, and the
// schemas that they import. So the program can write them for other languages. The schemas of the configuration and of the
// journal's records are not here: no other program reads those.
package proto

import "embed"

// Files has the schemas, under the paths by which they import each other. google/protobuf is not among them: every compiler has it.
//
//go:embed bridge/admin bridge/event bridge/options bridge/stream webhooks buf google
var Files embed.FS
