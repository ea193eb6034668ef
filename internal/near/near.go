// Package near finds the names that a misspelt word may mean, for messages that say "did you mean".
package near

import (
	"slices"
	"strings"
)

// maxNames is how many names a message lists.
const maxNames = 3

// listed is how many names a message lists where a list was asked for.
const listed = 20

// Names returns up to three of names that word may mean, the nearest first: names with few other letters, and names that begin with
// the word or hold it.
func Names(word string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var found []candidate
	folded := strings.ToLower(word)
	if folded == "" {
		return nil
	}
	for _, n := range names {
		lower := strings.ToLower(n)
		far := distance(folded, lower)
		if holds := len(folded) > 1 && strings.Contains(lower, folded); holds || far <= min(2, len(folded)/2) {
			found = append(found, candidate{n, far})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.far - b.far })
	var out []string
	for _, c := range found[:min(len(found), maxNames)] {
		out = append(out, c.name)
	}
	return out
}

// Question asks whether one of names was meant; it is empty if none is near. It is appended to a sentence.
func Question(word string, names []string) string { return Ask(Names(word, names)) }

// Ask asks whether one of names was meant; it is empty without names.
func Ask(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(names, " or ") + "?"
}

// List says which names there are, at most twenty of them, and asks whether a near one was meant. It is appended to a sentence.
func List(word string, names []string) string {
	if len(names) == 0 {
		return "; none is configured"
	}
	names = slices.Sorted(slices.Values(names))
	text := strings.Join(names[:min(len(names), listed)], ", ")
	if len(names) > listed {
		text += ", …"
	}
	return "; there are " + text + Question(word, names)
}

// distance is the number of letters to add, remove, replace or exchange with the next one that make b of a.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	var before []int
	last := make([]int, len(to)+1)
	for j := range last {
		last[j] = j
	}
	for i := range from {
		row := make([]int, len(to)+1)
		row[0] = i + 1
		for j := range to {
			differs := 1
			if from[i] == to[j] {
				differs = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+differs)
			if i > 0 && j > 0 && from[i] == to[j-1] && from[i-1] == to[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(to)]
}
