package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

//go:embed templates
var templateFiles embed.FS

// templates are the parsed pages, by the names of their files.
type templates struct{ byFile map[string]*template.Template }

// shared are the files that all pages use: the frame of a page, and parts.
var shared = []string{"templates/layout.html", "templates/parts.html"}

func parseTemplates(a *assets) (*templates, error) {
	base, err := template.New("").Funcs(functions(a)).ParseFS(templateFiles, shared...)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	t := &templates{byFile: map[string]*template.Template{}}
	for _, file := range files {
		page, err := template.Must(base.Clone()).ParseFS(templateFiles, file)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		t.byFile[strings.TrimPrefix(file, "templates/")] = page
	}
	return t, nil
}

// layout is what stands around a page's own content.
type layout struct {
	Title    string
	Nav      []navItem
	Operator operator
	// Self is the page's own path with its query.
	Self string
	// View is the page's own content.
	View any
}

type navItem struct {
	Label, Path string
	Current     bool
}

// errorView is a page that says what went wrong.
type errorView struct {
	Status int
	Text   string
}

// serve serves a page to operators, and sends the others to the form that asks for a token.
func (c *Console) serve(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, who, ok := c.admit(r)
		if !ok {
			c.sendToSignIn(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(ctx, c.patience)
		defer cancel()
		r = r.WithContext(ctx)
		if r.Method == http.MethodPost && r.Body != nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		l := layout{Operator: who, Nav: navigation(p, r)}
		view, err := p.handle(c, r)
		if to, ok := view.(redirect); ok && err == nil {
			http.Redirect(w, r, string(to), http.StatusSeeOther)
			return
		}
		if err != nil {
			e := errorOf(err)
			c.render(w, r, e.Status, page{title: http.StatusText(e.Status), template: "error.html"}, l, e)
			return
		}
		if t, ok := view.(interface{ title() string }); ok {
			p.title = t.title()
		}
		c.render(w, r, http.StatusOK, p, l, view)
	})
}

func (c *Console) sendToSignIn(w http.ResponseWriter, r *http.Request) {
	next := ""
	if r.Method == http.MethodGet {
		next = "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	if r.Header.Get("HX-Request") != "" { // the whole page goes there, not a part of it
		w.Header().Set("HX-Redirect", Path+"sign-in")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, Path+"sign-in"+next, http.StatusSeeOther)
}

func navigation(current page, r *http.Request) (items []navItem) {
	for _, p := range pages {
		if p.nav == "" {
			continue
		}
		path := Path + strings.TrimSuffix(p.path, "{$}")
		within := current.path == p.path || p.path != "{$}" && strings.HasPrefix(r.URL.Path, path+"/")
		items = append(items, navItem{p.nav, path, within})
	}
	return items
}

// render writes a page. A page is made in memory first, so that one that cannot be made is an error and not a half.
func (c *Console) render(w http.ResponseWriter, r *http.Request, code int, p page, l layout, view any) {
	l.Title, l.Self, l.View = p.title, r.URL.RequestURI(), view
	var b bytes.Buffer
	if err := c.pages.byFile[p.template].ExecuteTemplate(&b, "layout", l); err != nil {
		c.log.Error("page of the console cannot be shown", "template", p.template, "error", err)
		http.Error(w, "the page cannot be shown; the program's log says more", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = b.WriteTo(w)
}

// statusOf is the one place where the services' codes become HTTP's.
var statusOf = map[codes.Code]int{
	codes.InvalidArgument: http.StatusBadRequest, codes.NotFound: http.StatusNotFound, codes.PermissionDenied: http.StatusForbidden,
	codes.Unauthenticated: http.StatusForbidden, codes.FailedPrecondition: http.StatusConflict, codes.OutOfRange: http.StatusGone,
	codes.Unavailable: http.StatusServiceUnavailable, codes.DeadlineExceeded: http.StatusGatewayTimeout, codes.Canceled: http.StatusServiceUnavailable,
	codes.Unimplemented: http.StatusNotImplemented, codes.ResourceExhausted: http.StatusTooManyRequests, codes.AlreadyExists: http.StatusConflict,
}

func errorOf(err error) errorView {
	var own *problem
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return errorView{own.status, own.text}
	case errors.As(err, &large):
		return errorView{http.StatusRequestEntityTooLarge, "The form is too large."}
	}
	s := status.Convert(err)
	code, known := statusOf[s.Code()]
	if !known {
		return errorView{http.StatusInternalServerError, "The program has a fault; its log says more."}
	}
	return errorView{code, sentence(s.Message())}
}

// sentence writes a text of a service as a sentence.
func sentence(text string) string {
	if text == "" {
		return "The request failed."
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// now is the clock of pages, in UTC.
func now() time.Time { return time.Now().UTC() }
