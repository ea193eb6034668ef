package console

// Patterns are the methods and paths of the table of pages.
func Patterns() (all []string) {
	for _, p := range pages {
		all = append(all, p.method+" "+p.path)
	}
	return all
}
