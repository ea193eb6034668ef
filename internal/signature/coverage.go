package signature

import "bytes"

// Coverage says which parts of a request, in addition to the body, a template proves. The zero Coverage proves none.
type Coverage struct{ message template }

// CoverageOf returns the coverage of a template as [connectors.HMAC] has it. A template that [Compile] refuses has none.
func CoverageOf(signed string) Coverage {
	message, problem := parseTemplate(signed)
	if problem != "" {
		return Coverage{}
	}
	return Coverage{message}
}

// Header reports whether the header's value is proved. A request without this header, or with two, has no valid signature.
func (c Coverage) Header(name string) bool { return c.message.provesHeader(canonical(name)) }

// Path reports whether the path of the URL is proved, in a request whose body is JSON: no path ends with the beginning of a
// JSON object.
func (c Coverage) Path() bool { return c.message.proves("path", "url") }

// PathBesideForm is [Coverage.Path] for a request whose body may be a form. A form may begin like the rest of a path, so the
// template must show where the path ends.
func (c Coverage) PathBesideForm() bool {
	body := c.message.remainder()
	for i := range c.message {
		p := &c.message[i]
		if p.name != "path" && p.name != "url" || p.function == "len" {
			continue
		}
		if p.function == "sha256" || !c.message.varies(i, body) || i == body {
			return true
		}
		neighbour := i + 1
		if i > body {
			neighbour = i - 1
		}
		if neighbour >= 0 && neighbour < len(c.message) && bytes.ContainsAny(c.message[neighbour].literal, notInURL) {
			return true
		}
	}
	return false
}

// notInURL are characters that neither an escaped path nor a query has.
const notInURL = "\x00\t\n\r "
