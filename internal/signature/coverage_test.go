package signature

import "testing"

// TestCoverage: only a value, or its digest, is proved; its length alone is not. Beside a form, the path must end visibly.
func TestCoverage(t *testing.T) {
	for signed, want := range map[string]struct{ path, besideForm, header bool }{
		"{body}":                                  {},
		"{timestamp}.{body}":                      {},
		"{host}{method}{body}":                    {},
		"{body}{nonsense}":                        {},
		"{len(path)}:{body}":                      {},
		"{len(header.X-Event)}.{body}":            {},
		"{header.X-Other}.{body}":                 {},
		"{path}{body}":                            {path: true},
		"{url}{body}":                             {path: true},
		"{url}.{body}":                            {path: true},
		"{body}.{path}":                           {path: true},
		"{path}\n{body}":                          {path: true, besideForm: true},
		"{body} {url}":                            {path: true, besideForm: true},
		"{len(path)}:{path}{body}":                {path: true, besideForm: true},
		"{sha256(path)}{body}":                    {path: true, besideForm: true},
		"{path}{sha256(body)}":                    {path: true, besideForm: true},
		"{header.x-event}.{body}":                 {header: true},
		"{sha256(header.X-EVENT)}{body}":          {header: true},
		"{method} {url}\n{header.X-Event}.{body}": {path: true, besideForm: true, header: true},
	} {
		c := CoverageOf(signed)
		got := struct{ path, besideForm, header bool }{c.Path(), c.PathBesideForm(), c.Header("x-Event")}
		if got != want {
			t.Errorf("%s: %+v, want %+v", signed, got, want)
		}
	}
}
