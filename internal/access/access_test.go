package access

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/sinks/pattern"
)

const (
	tail    = "/bridge.stream.v1.EventStreamService/Tail"
	manage  = "/bridge.stream.v1.EventStreamService/ListParked"
	join    = "/bridge.stream.v1.EventStreamService/Pull"
	operate = "/bridge.admin.v1.AdminService/ListWebhooks"
	// similar is another service, with a name like the operators'.
	similar = "/bridge.admin.v1.AdminServiceTwo/ListWebhooks"
	reflect = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	typed   = "/webhooks.retino.v1.RetinoWebhookService/ShippingOrdered"
)

func call(method, token string) Call {
	c := Call{Method: method}
	if token != "" {
		c.Authorization = []string{"Bearer " + token}
	}
	return c
}

// TestAdmit: each service has its callers, and a caller that is not known is told apart from one that lacks a right.
func TestAdmit(t *testing.T) {
	none := New(Config{})
	shared := New(Config{Tokens: secret.List("stream")})
	apart := New(Config{Tokens: secret.List("stream"), AdminTokens: secret.List("operator")})
	operators := New(Config{AdminTokens: secret.List("operator")})
	named := New(Config{AdminTokens: secret.List("operator"), Principals: []Rules{{Name: "orders", Tokens: secret.List("old", "new")}}})
	alone := New(Config{Principals: []Rules{{Name: "orders", Tokens: secret.List("old")}}})
	for _, c := range []struct {
		name          string
		authenticator *Authenticator
		token, method string
		want          codes.Code
	}{
		{"none", none, "", tail, codes.OK},
		{"none", none, "any", tail, codes.OK},
		{"none", none, "", operate, codes.OK},
		{"shared", shared, "stream", tail, codes.OK},
		{"shared", shared, "stream", operate, codes.OK},
		{"shared", shared, "", operate, codes.Unauthenticated},
		{"shared", shared, "", tail, codes.Unauthenticated},
		{"shared", shared, "wrong", typed, codes.Unauthenticated},
		{"apart", apart, "operator", operate, codes.OK},
		{"apart", apart, "stream", operate, codes.PermissionDenied},
		{"apart", apart, "", operate, codes.Unauthenticated},
		{"apart", apart, "operator", tail, codes.PermissionDenied},
		{"apart", apart, "stream", tail, codes.OK},
		{"apart", apart, "stream", typed, codes.OK},
		{"apart", apart, "operator", typed, codes.PermissionDenied},
		{"apart", apart, "operator", manage, codes.OK},
		{"apart", apart, "operator", join, codes.PermissionDenied},
		{"apart", apart, "stream", manage, codes.OK},
		{"named", named, "operator", manage, codes.OK},
		{"named", named, "operator", join, codes.PermissionDenied},
		{"apart", apart, "operator", similar, codes.PermissionDenied},
		{"apart", apart, "operator", reflect, codes.OK},
		{"apart", apart, "stream", reflect, codes.OK},
		{"apart", apart, "", reflect, codes.Unauthenticated},
		{"operators", operators, "", tail, codes.OK},
		{"operators", operators, "", operate, codes.Unauthenticated},
		{"operators", operators, "wrong", operate, codes.Unauthenticated},
		{"operators", operators, "operator", operate, codes.OK},
		{"named", named, "old", tail, codes.OK},
		{"named", named, "new", tail, codes.OK},
		{"named", named, "new", typed, codes.OK},
		{"named", named, "new", operate, codes.PermissionDenied},
		{"named", named, "new", reflect, codes.OK},
		{"named", named, "operator", operate, codes.OK},
		{"named", named, "operator", tail, codes.PermissionDenied},
		{"named", named, "operator", reflect, codes.OK},
		{"named", named, "", tail, codes.Unauthenticated},
		{"named", named, "wrong", tail, codes.Unauthenticated},
		{"alone", alone, "old", tail, codes.OK},
		{"alone", alone, "old", operate, codes.PermissionDenied},
		{"alone", alone, "", operate, codes.Unauthenticated},
	} {
		_, err := c.authenticator.Admit(t.Context(), call(c.method, c.token))
		if status.Code(err) != c.want {
			t.Errorf("%s: %s with %q: %v, want %v", c.name, c.method, c.token, err, c.want)
		}
	}
}

// TestAuthorization: one header, with one token.
func TestAuthorization(t *testing.T) {
	a := New(Config{Tokens: secret.List("old-token", "new-token")})
	for authorization, want := range map[string]bool{
		"":                                  false,
		"Bearer":                            false,
		"Bearer ":                           false,
		"Bearer wrong":                      false,
		"Basic old-token":                   false,
		"Bearer old-token":                  true,
		"bearer new-token":                  true,
		"Bearer  new-token":                 true,
		"Bearer old-token x":                false,
		"Bearer old-token|Bearer new-token": false,
	} {
		_, err := a.Admit(t.Context(), Call{Method: tail, Authorization: strings.Split(authorization, "|")})
		if got := err == nil; got != want {
			t.Errorf("authorization %q: admitted %v, want %v", authorization, got, want)
		}
	}
}

// TestWithoutPrincipals: who is admitted sees all events. Raw webhooks are for those who could ask the operators' service for them.
func TestWithoutPrincipals(t *testing.T) {
	for _, c := range []struct {
		config Config
		raw    bool
	}{
		{Config{}, true},
		{Config{Tokens: secret.List("stream")}, true},
		{Config{Tokens: secret.List("stream"), AdminTokens: secret.List("operator")}, false},
		{Config{AdminTokens: secret.List("operator")}, false},
	} {
		ctx, err := New(c.config).Admit(t.Context(), call(tail, "stream"))
		if err != nil {
			t.Fatal(err)
		}
		caller := From(ctx)
		if !maySee(caller.Principal, "any", "order.changed") || !maySee(caller.Principal, "any", "unmapped") || !caller.MayJoin("any") || !caller.Personal() {
			t.Errorf("%d tokens, %d for operators: the caller does not see all", len(c.config.Tokens), len(c.config.AdminTokens))
		}
		if caller.Raw() != c.raw {
			t.Errorf("%d tokens, %d for operators: raw %v", len(c.config.Tokens), len(c.config.AdminTokens), caller.Raw())
		}
		if err := caller.Filter(nil, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestOperatorsManageGroups: operators see all groups and their dead letters, without personal data.
func TestOperatorsManageGroups(t *testing.T) {
	ctx, err := New(Config{Tokens: secret.List("stream"), AdminTokens: secret.List("operator")}).Admit(t.Context(), call(manage, "operator"))
	if err != nil {
		t.Fatal(err)
	}
	if c := From(ctx); !c.MayJoin("any") || !maySee(c.Principal, "any", "order.changed") || c.Personal() || c.Raw() {
		t.Error("operators see too much or too little")
	}
}

// TestNobody: a context without a caller, and a principal without rules, may see nothing.
func TestNobody(t *testing.T) {
	empty := New(Config{Principals: []Rules{{Name: "empty", Tokens: secret.List("token")}}})
	ctx, err := empty.Admit(t.Context(), call(tail, "token"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ctx := range []context.Context{ctx, t.Context()} {
		c := From(ctx)
		if maySee(c.Principal, "", "") || maySee(c.Principal, "a", "b") || c.MayJoin("") || c.MayJoin("g") || c.Raw() || c.Personal() {
			t.Errorf("%q may see something", c.Name())
		}
		for _, err := range []error{c.Filter(nil, nil), c.Filter([]string{"a"}, nil), c.Filter(nil, []string{"**"}), c.Group("g"), c.RawPayload()} {
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("%q: %v", c.Name(), err)
			}
		}
	}
}

func maySee(p *Principal, source, kind string) bool {
	return p.MaySeeSource(source) && p.MaySeeType(kind)
}

func principal(t *testing.T, r Rules) *Principal {
	t.Helper()
	p, faults := NewPrincipal(r)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return p
}

// TestFilter: an entry that can choose nothing is denied, and named; what is broader is no error.
func TestFilter(t *testing.T) {
	c := &Caller{Principal: principal(t, Rules{Name: "orders", Sources: []string{"shop", "erp-*"}, Types: []string{"order.*", "**.deleted"}})}
	for _, test := range []struct {
		sources, types []string
		denied         string
	}{
		{nil, nil, ""},
		{[]string{"shop", "erp-2"}, []string{"order.changed", "customer.deleted", "**", "customer.*"}, ""},
		{[]string{"shop", "pos"}, nil, `principal orders may not see the source "pos"`},
		{[]string{"erp"}, nil, `principal orders may not see the source "erp"`},
		{nil, []string{"order.*", "customer.changed"}, `principal orders may see no type that matches "customer.changed"`},
		{nil, []string{"unmapped"}, `principal orders may see no type that matches "unmapped"`},
		{nil, []string{"not a pattern"}, ""},
	} {
		err := c.Filter(test.sources, test.types)
		if got := status.Convert(err).Message(); got != test.denied || err != nil && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%q, %q: %v, want %q", test.sources, test.types, err, test.denied)
		}
	}
}

// TestRights: names of sources and groups, and types, each by its own patterns.
func TestRights(t *testing.T) {
	p := principal(t, Rules{Sources: []string{"shop", "erp-*"}, Types: []string{"order.*"}, Groups: []string{"billing", "team-*-live"}})
	for source, want := range map[string]bool{"shop": true, "shop2": false, "erp-": true, "erp-jakarta": true, "erp": false, "": false} {
		if p.MaySeeSource(source) != want || maySee(p, source, "order.changed") != want || maySee(p, source, "customer.changed") {
			t.Errorf("source %q: want %v", source, want)
		}
	}
	for group, want := range map[string]bool{"billing": true, "billing2": false, "team-a-live": true, "team-a.b/c-live": true, "team-live": false, "": false} {
		if p.MayJoin(group) != want {
			t.Errorf("group %q: want %v", group, want)
		}
	}
}

// TestFaults: a pattern that cannot be meant is reported with its place.
func TestFaults(t *testing.T) {
	_, faults := NewPrincipal(Rules{
		Sources: []string{"shop", "Shop"}, Types: []string{"order.*", "ord*"},
		Groups:       []string{"*", "Team-a.b_c-*", "supp ort", "-a", "a.", "a/b", "*-*"},
		Certificates: []string{"DNS:a.example", "a.example", "URI:", "dns:a"},
	})
	var keys []string
	for _, f := range faults {
		keys = append(keys, f.Key)
	}
	if got := strings.Join(keys, " "); got != "types[1] certificates[1] certificates[2] certificates[3] sources[1] groups[2] groups[3] groups[4] groups[5]" {
		t.Errorf("faults of %s", got)
	}
}

// FuzzGlob compares globs with regular expressions.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"*", ""},
		{"erp-*", "erp-jakarta"},
		{"*.example.com", "a.b.example.com"},
		{"**.example.com", "a.b.example.com"},
		{"a*b*a", "aba"},
		{"a***b", "a.b"},
		{"spiffe://example.org/ns/*/sa/**", "spiffe://example.org/ns/p/sa/a/b"},
		{"\x80*", "\x80\n"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		if len(text) > 60 || len(name) > 200 {
			return
		}
		for _, separator := range []byte{0, '.', '/'} {
			part := "."
			if separator != 0 {
				part = "[^" + regexp.QuoteMeta(string(separator)) + "]"
			}
			var re strings.Builder
			for i := 0; i < len(text); {
				stars := len(text[i:]) - len(strings.TrimLeft(text[i:], "*"))
				switch stars {
				case 0:
					re.WriteString(regexp.QuoteMeta(wide(text[i : i+1])))
					i++
				case 1:
					re.WriteString(part + "*")
				default:
					re.WriteString(".*")
				}
				i += stars
			}
			want := regexp.MustCompile("(?s)^" + re.String() + "$").MatchString(wide(name))
			if got := newGlob(text, separator).matches(name); got != want {
				t.Errorf("%q with separator %q on %q: %v, want %v", text, separator, name, got, want)
			}
		}
	})
}

// wide writes each byte as a character of its own, since regular expressions match characters.
func wide(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteRune(rune(text[i]))
	}
	return b.String()
}

// FuzzTypes: a filter's pattern is denied exactly if no type that it matches may be seen.
func FuzzTypes(f *testing.F) {
	f.Add("order.*", "**.deleted", "order.deleted")
	f.Add("order.**", "order", "order")
	f.Add("*.a.**", "b.**.a", "b.a.a")
	f.Fuzz(func(t *testing.T, rule, filter, kind string) {
		p, faults := NewPrincipal(Rules{Sources: []string{"*"}, Types: []string{rule}})
		asked, err := pattern.Parse(filter)
		if len(faults) > 0 || err != nil || len(rule)+len(filter)+len(kind) > 300 {
			return
		}
		c := &Caller{Principal: p}
		denied := c.Filter(nil, []string{filter}) != nil
		if p.MaySeeType(kind) && asked.Matches(strings.Split(kind, ".")) && denied {
			t.Errorf("%q is denied to %q, and both match %q", filter, rule, kind)
		}
		if other, _ := NewPrincipal(Rules{Types: []string{filter}}); other != nil {
			own, _ := pattern.Parse(rule)
			if p.MaySeeSomeOf(asked) != other.MaySeeSomeOf(own) {
				t.Errorf("%q and %q: the order makes a difference", rule, filter)
			}
		}
	})
}
