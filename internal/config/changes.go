package config

import (
	"errors"
	"maps"
	"regexp"
	"slices"

	"github.com/webhook-bridge/bridge/internal/secret"
)

// Changes are the differences of two configurations. They show no value.
type Changes struct {
	Sources, Sinks, Principals NamedChanges
	// Keys are the other keys with another value, in order.
	Keys []string
	// Secrets are the secrets with another text. Those of an added source, sink or principal are not among them.
	Secrets []Secret
}

// NamedChanges are names of sources, sinks or principals, each list in order. A secret that a file holds is no change of its owner: it is
// followed by itself.
type NamedChanges struct {
	Added, Removed, Changed []string
}

// errNoFile means that a configuration was not read from a file.
var errNoFile = errors.New("config: the configuration was not read from a file")

// IsFile reports whether c was read from a file, by [Load] or [Config.Reread].
func (c *Config) IsFile() bool { return c.origin != nil && c.origin.isFile }

// Reread reads the file again that c was read from, with the same environment, connectors and checks. It changes nothing. It returns
// all problems at once, as [*Error]. Keys that a running server cannot change are among them if they have another value.
func (c *Config) Reread() (*Config, error) {
	if !c.IsFile() {
		return nil, errNoFile
	}
	o := c.origin
	next, err := load(o.name, o.expander, o.connectors, o.checks)
	if err != nil {
		return nil, err
	}
	next.Journal.AcceptLoss = c.Journal.AcceptLoss
	next.origin.checkRestart(c)
	if err := next.origin.report.err(); err != nil {
		return nil, err
	}
	return next, nil
}

// checkRestart reports the keys that a running server cannot change.
func (o *origin) checkRestart(old *Config) {
	before, after := fixedSettings(old.origin), fixedSettings(o)
	paths := slices.Collect(maps.Keys(after))
	for path := range before {
		if _, there := after[path]; !there {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths) // a key before the keys below it
	for _, path := range paths {
		was, had := before[path]
		if is, has := after[path]; had != has || was != is {
			o.report.addf(path, "needs a restart: a running server cannot change it")
		}
	}
}

// fixedSettings are those that a running server cannot change. Of a secret that a file holds, only that is a setting.
func fixedSettings(o *origin) map[string]string {
	all := map[string]string{}
	for _, s := range settings(o.file) {
		if s.restart {
			all[s.path] = o.comparable(s)
		}
	}
	return all
}

func (o *origin) comparable(s setting) string {
	if s.secret && len(o.report.files[s.path]) > 0 {
		return "a file's"
	}
	return s.value
}

// ChangesFrom returns what is different in c. Both were read by this package.
func (c *Config) ChangesFrom(old *Config) Changes {
	before, after := old.byOwner(), c.byOwner()
	changes := Changes{Secrets: slices.DeleteFunc(c.secretsFrom(old), func(s Secret) bool {
		o, _ := c.ownerOf(s.Value.Place())
		return before[o] == nil // It came with its owner.
	})}
	named := map[string]*NamedChanges{"sources": &changes.Sources, "sinks": &changes.Sinks, "access.principals": &changes.Principals}
	for o, keys := range after {
		switch was, known := before[o]; {
		case o == owner{}:
		case !known:
			named[o.list].Added = append(named[o.list].Added, o.name)
		case !maps.Equal(was, keys):
			named[o.list].Changed = append(named[o.list].Changed, o.name)
		}
	}
	for o := range before {
		if _, left := after[o]; !left {
			named[o.list].Removed = append(named[o.list].Removed, o.name)
		}
	}
	for _, n := range named {
		slices.Sort(n.Added)
		slices.Sort(n.Removed)
		slices.Sort(n.Changed)
	}
	changes.Keys = differentKeys(before[owner{}], after[owner{}])
	return changes
}

// byOwner returns the settings by owner and key.
func (c *Config) byOwner() map[owner]map[string]string {
	all := map[owner]map[string]string{{}: {}}
	for _, s := range settings(c.origin.file) {
		o, key := c.ownerOf(s.path)
		if all[o] == nil {
			all[o] = map[string]string{}
		}
		all[o][key] = c.origin.comparable(s)
	}
	return all
}

func differentKeys(before, after map[string]string) (keys []string) {
	for key, value := range after {
		if was, had := before[key]; !had || was != value {
			keys = append(keys, key)
		}
	}
	for key := range before {
		if _, has := after[key]; !has {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// place of a secret, whose owner may have moved in its list.
type secretPlace struct {
	owner
	key string
}

var lastIndex = regexp.MustCompile(`\[\d+\]$`)

func (c *Config) secretPlaces() map[secretPlace]secret.Value {
	all := map[secretPlace]secret.Value{}
	for _, s := range c.Secrets() {
		o, key := c.ownerOf(s.Value.Place())
		all[secretPlace{o, key}] = s.Value
	}
	return all
}

// secretsFrom returns the secrets whose text no secret of the same list had.
func (c *Config) secretsFrom(old *Config) (changed []Secret) {
	texts := map[secretPlace]map[string]bool{}
	for at, v := range old.secretPlaces() {
		at.key = lastIndex.ReplaceAllString(at.key, "")
		if texts[at] == nil {
			texts[at] = map[string]bool{}
		}
		texts[at][v.Reveal()] = true
	}
	for _, s := range c.Secrets() {
		o, key := c.ownerOf(s.Value.Place())
		if !texts[secretPlace{o, lastIndex.ReplaceAllString(key, "")}][s.Value.Reveal()] {
			changed = append(changed, s)
		}
	}
	return changed
}

// TakeOver makes the secrets of old that stay in use stand for the secrets of c. So a part of the program that keeps old settings, because they did
// not change, has the new texts of files, and no secret looks unused only because the file was read again.
func (c *Config) TakeOver(old *Config) {
	now := c.secretPlaces()
	left := map[secretPlace][]secret.Value{} // by list
	for at, was := range old.secretPlaces() {
		if is, ok := now[at]; ok && (is.Equal(was) || is.FromFile() && was.FromFile()) {
			was.Become(is)
			continue
		}
		at.key = lastIndex.ReplaceAllString(at.key, "")
		left[at] = append(left[at], was)
	}
	for at, is := range now {
		at.key = lastIndex.ReplaceAllString(at.key, "")
		if i := slices.IndexFunc(left[at], is.Equal); i >= 0 {
			left[at][i].Become(is) // It has another place in its list.
		}
	}
}
