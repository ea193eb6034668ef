//go:build !unix

package daemon

// hasPermissions: files do not have the permissions of Unix.
const hasPermissions = false

// writeProblem cannot tell without writing.
func writeProblem(string) string { return "" }
