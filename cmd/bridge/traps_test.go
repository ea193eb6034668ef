package main

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrapsAreShown compares testdata/traps.txt with the connectors' testdata, both ways: every trap of every vendor has a
// webhook that shows it, and every webhook that is named after a trap shows one that is listed. The list need not have every
// vendor.
func TestTrapsAreShown(t *testing.T) {
	listed := readTraps(t)
	for name := range listed {
		if _, known := allConnectors()[name]; !known {
			t.Errorf("testdata/traps.txt names %q, which is no connector", name)
		}
	}
	for name := range listed {
		unshown := maps.Clone(listed[name])
		archives, err := filepath.Glob(filepath.Join("../../connectors", name, "testdata/trap_*.txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, archive := range archives {
			trap, found := trapOf(archive, listed[name])
			if !found {
				t.Errorf("%s shows a trap that testdata/traps.txt does not list for %s", archive, name)
			}
			delete(unshown, trap)
		}
		for trap := range unshown {
			t.Errorf("no connectors/%s/testdata/trap_%s*.txtar", name, trap)
		}
	}
}

// trapOf returns the trap that the archive is named after: trap_<trap>.txtar, or trap_<trap>_<more>.txtar.
func trapOf(archive string, traps map[string]bool) (trap string, found bool) {
	name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(archive), "trap_"), ".txtar")
	for trap := range traps {
		if name == trap || strings.HasPrefix(name, trap+"_") {
			return trap, true
		}
	}
	return "", false
}

// readTraps returns the traps of each vendor.
func readTraps(t *testing.T) map[string]map[string]bool {
	t.Helper()
	listed := map[string]map[string]bool{}
	for line := range strings.Lines(readText(t, "testdata/traps.txt")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		trap, vendors, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(vendors) == "" {
			t.Fatalf("testdata/traps.txt: %q is not a trap with its vendors", line)
		}
		for _, vendor := range strings.Fields(vendors) {
			if listed[vendor] == nil {
				listed[vendor] = map[string]bool{}
			}
			listed[vendor][trap] = true
		}
	}
	return listed
}
