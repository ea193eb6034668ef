package config

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/internal/secret"
)

// Secret is a secret of a configuration.
type Secret struct {
	// Source is the name of the source that it belongs to, or "".
	Source string
	// Key is the key of the configuration, below the source's if there is one: "auth.header.values[0]", "access.tokens[1]".
	Key   string
	Value secret.Value
}

// Secrets returns all secrets, in the order sources, access, sinks.
func (c *Config) Secrets() []Secret {
	var all []Secret
	for i := range c.Sources {
		s := &c.Sources[i]
		for _, v := range s.Auth.Values {
			all = append(all, Secret{s.Name, strings.TrimPrefix(v.Place(), element("sources", i)+"."), v})
		}
	}
	tokens := slices.Concat(c.Access.Tokens, c.Access.AdminTokens)
	for _, p := range c.Access.Principals {
		tokens = append(tokens, p.Tokens...)
	}
	for _, v := range tokens {
		all = append(all, Secret{"", v.Place(), v})
	}
	for _, s := range c.Sinks {
		for _, v := range s.secrets() {
			all = append(all, Secret{"", v.Place(), v})
		}
	}
	for _, h := range c.Telemetry.Headers {
		all = append(all, Secret{"", h.Value.Place(), h.Value})
	}
	return all
}

// FilesOf returns the paths of the files that the value at a path of the configuration refers to.
func (c *Config) FilesOf(path string) []string {
	if c.origin == nil {
		return nil
	}
	return c.origin.report.files[path]
}

// ProblemAt returns a problem of the value at a path of the configuration, with its place in the file.
func (c *Config) ProblemAt(path, reason string) Problem {
	if c.origin == nil {
		return Problem{Path: path, Reason: reason}
	}
	at := c.origin.report.place(path)
	return Problem{File: c.origin.name, Line: at.line, Column: at.column, Path: path, Reason: reason}
}

// Reloader reads the files again that hold secrets of a configuration, and gives the secrets their new texts. It reads the
// configuration's own file from memory, so a change of that file changes nothing. It is not safe for concurrent use.
type Reloader struct {
	cfg     *Config
	secrets []Secret
	// applied are the contents that the secrets have, or that were refused. looked are the contents of the last look.
	applied, looked contents
	// refused has the reasons that were returned, by place.
	refused map[string]string
}

// contents are digests of files, by path.
type contents map[string][sha256.Size]byte

// Reloaded says what a reload did. Neither list shows a text.
type Reloaded struct {
	// Changed are the secrets with a new text.
	Changed []Secret
	// Refused are the problems of new contents. Their secrets keep the old text. Poll returns each problem once.
	Refused []Problem
}

// NewReloader returns the reloader of a configuration that [Load] or [Parse] returned. Others have no files, and never change.
func NewReloader(c *Config) *Reloader {
	r := &Reloader{cfg: c, secrets: c.Secrets(), refused: map[string]string{}}
	r.looked = r.look()
	r.applied = contents{} // A file may have changed since the configuration was read.
	for path := range r.looked {
		r.applied[path] = c.origin.report.contents[path]
	}
	return r
}

// look reads the files.
func (r *Reloader) look() contents {
	now := contents{}
	for _, s := range r.secrets {
		for _, path := range r.cfg.FilesOf(s.Value.Place()) {
			if _, known := now[path]; !known {
				now[path] = r.digest(path)
			}
		}
	}
	return now
}

// digest returns the digest of a file. An unreadable file has one, too.
func (r *Reloader) digest(path string) [sha256.Size]byte {
	return digestOf(r.cfg.origin.readFile(path))
}

func digestOf(data []byte, err error) [sha256.Size]byte {
	if err != nil {
		data = []byte("\x00unreadable: " + fileReason(err).Error())
	}
	return sha256.Sum256(data)
}

// Poll takes new contents that were the same at the last two calls: a file that is being written is not taken half.
func (r *Reloader) Poll() Reloaded {
	before := r.looked
	r.looked = r.look()
	for path, content := range r.looked {
		if content != r.applied[path] && content == before[path] {
			return r.apply()
		}
	}
	return Reloaded{}
}

// Reload takes new contents now.
func (r *Reloader) Reload() Reloaded {
	r.looked = r.look()
	clear(r.refused)
	return r.apply()
}

// apply gives the secrets their texts from the files. The same checks apply as at the start.
func (r *Reloader) apply() (done Reloaded) {
	if r.cfg.origin == nil {
		return done
	}
	again := *r.cfg.origin
	next, report, err := again.read()
	if err != nil || next == nil {
		return done // not with the same bytes
	}
	r.applied = r.looked
	texts := map[string]string{}
	for _, s := range next.Secrets() {
		texts[s.Value.Place()] = s.Value.Reveal()
	}
	for _, s := range r.secrets {
		place, old := s.Value.Place(), s.Value.Reveal()
		text, problem := texts[place], report.about(place)
		switch {
		case !s.Value.FromFile():
			continue
		case problem == nil && text == old:
			s.Value.SetRefused(false)
			delete(r.refused, place)
			continue
		case problem == nil && text == "":
			at := report.place(place)
			problem = &Problem{File: report.file, Line: at.line, Column: at.column, Path: place, Reason: "the file it refers to is empty"}
		}
		s.Value.SetRefused(problem != nil)
		if problem != nil {
			if r.refused[place] != problem.Reason {
				refused := *problem
				refused.Path = place
				done.Refused = append(done.Refused, refused)
			}
			r.refused[place] = problem.Reason
			continue
		}
		delete(r.refused, place)
		s.Value.Replace(text)
		done.Changed = append(done.Changed, s)
	}
	return done
}

// about returns a problem of the value at path, or of the list that it is in.
func (r *report) about(path string) *Problem {
	for i := range r.problems {
		if p := &r.problems[i]; p.Path == path || within(p.Path, path) || within(path, p.Path) {
			return p
		}
	}
	return nil
}
