//go:build race

package vendorjson

// underRace says that the race detector slows code down, each kind by another factor.
const underRace = true
