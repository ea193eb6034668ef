//go:build !race

package vendorjson

const underRace = false
