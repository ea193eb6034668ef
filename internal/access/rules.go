package access

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/sinks/pattern"
)

// Rules are a principal as it is configured.
type Rules struct {
	// Name is unique, and shown in metrics and messages.
	Name string
	// Tokens are bearer tokens; each of them is a credential of the principal.
	Tokens []secret.Value
	// Certificates are patterns of the names in a client's certificate: `CN:`, `DNS:` or `URI:`, and the name. In it, `*` stands for
	// any run of characters within a part of the name, `**` for any run. A DNS name has parts between dots, a URI between slashes.
	Certificates []string
	// Sources are names of sources, Groups names of groups; `*` stands for any run of characters.
	Sources, Groups []string
	// Types are patterns of canonical types, as in filters.
	Types []string
	// Raw permits raw webhooks. Personal shows personal data; otherwise they are masked.
	Raw, Personal bool
}

// equal reports whether both give the same rights to the same certificates. Tokens do not count.
func (r Rules) equal(other Rules) bool {
	return r.Name == other.Name && r.Raw == other.Raw && r.Personal == other.Personal &&
		slices.Equal(r.Certificates, other.Certificates) && slices.Equal(r.Sources, other.Sources) &&
		slices.Equal(r.Groups, other.Groups) && slices.Equal(r.Types, other.Types)
}

// Fault is something wrong in rules.
type Fault struct {
	// Key is the setting, relative to the principal: "types[2]".
	Key string
	// Reason is text for people. It shows no value.
	Reason string
}

// Principal is a caller and what it may see. The zero Principal may see nothing. Its decisions are pure: they depend on nothing but the
// rules. They are not cheap: a reader of many events remembers them by source and by type.
type Principal struct {
	name string
	// rules are those that it was compiled from.
	rules           Rules
	sources, groups []glob
	types           []pattern.Pattern
	raw, personal   bool
	certificates    []namePattern
	// used is when a credential of the principal was used last, in Unix seconds. It decides nothing.
	used atomic.Int64
}

// NewPrincipal compiles rules. With faults, the result is nil.
func NewPrincipal(r Rules) (*Principal, []Fault) {
	p := &Principal{name: r.Name, rules: r, raw: r.Raw, personal: r.Personal}
	var faults []Fault
	for i, text := range r.Types {
		compiled, err := pattern.Parse(text)
		if err != nil {
			faults = append(faults, Fault{
				fmt.Sprintf("types[%d]", i),
				"must be lower-case words joined by dots; `*` and `**` stand for whole words, as in `order.*`",
			})
		}
		p.types = append(p.types, compiled)
	}
	for i, text := range r.Certificates {
		compiled, reason := newNamePattern(text)
		if reason != "" {
			faults = append(faults, Fault{fmt.Sprintf("certificates[%d]", i), reason})
		}
		p.certificates = append(p.certificates, compiled)
	}
	for i, text := range r.Sources {
		if strings.ContainsFunc(text, notInSource) {
			faults = append(faults, Fault{fmt.Sprintf("sources[%d]", i), "names of sources have lower case letters, digits and dashes; `*` stands for any of them"})
		}
		p.sources = append(p.sources, newGlob(text, 0))
	}
	for i, text := range r.Groups {
		if strings.ContainsFunc(text, notInGroup) || strings.Trim(text, "._-") != text {
			faults = append(faults, Fault{
				fmt.Sprintf("groups[%d]", i),
				"names of groups have letters, digits, dots, dashes and underscores, with a letter or a digit at both ends; `*` stands for any of them",
			})
		}
		p.groups = append(p.groups, newGlob(text, 0))
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return p, nil
}

func notInSource(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '*'
}

func notInGroup(r rune) bool {
	return (r < 'A' || r > 'Z') && r != '.' && r != '_' && notInSource(r)
}

// everything returns a principal who may see all events and groups.
func everything(raw, personal bool) *Principal {
	p, _ := NewPrincipal(Rules{
		Sources: []string{"*"}, Types: []string{"**"}, Groups: []string{"*"}, Raw: raw, Personal: personal,
	})
	return p
}

// Name returns the principal's name. It is empty while no principal is configured.
func (p *Principal) Name() string { return p.name }

// MaySeeSource reports whether the principal may see events of a source. Their type decides too.
func (p *Principal) MaySeeSource(source string) bool { return anyMatches(p.sources, source) }

// MaySeeType reports whether the principal may see events of a type. Their source decides too.
func (p *Principal) MaySeeType(kind string) bool {
	segments := strings.Split(kind, ".")
	return slices.ContainsFunc(p.types, func(t pattern.Pattern) bool { return t.Matches(segments) })
}

// MaySeeSomeOf reports whether the principal may see a type that a pattern matches.
func (p *Principal) MaySeeSomeOf(types pattern.Pattern) bool {
	return slices.ContainsFunc(p.types, types.Overlaps)
}

// MayJoin reports whether the principal may use a group: join it, look at it and change it.
func (p *Principal) MayJoin(group string) bool { return anyMatches(p.groups, group) }

// Raw reports whether the principal may see raw webhooks, of the sources and types that it may see.
func (p *Principal) Raw() bool { return p.raw }

// Personal reports whether the principal may see personal data. For others they are masked.
func (p *Principal) Personal() bool { return p.personal }

func anyMatches(globs []glob, text string) bool {
	return slices.ContainsFunc(globs, func(g glob) bool { return g.matches(text) })
}
