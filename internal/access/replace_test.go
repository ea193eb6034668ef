package access

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/webhook-bridge/bridge/internal/secret"
)

// TestReplace: another configuration ends the calls of callers who lost something, and no others.
func TestReplace(t *testing.T) {
	rules := func(name, token string, types ...string) Rules {
		return Rules{Name: name, Tokens: secret.List(token), Sources: []string{"*"}, Types: types}
	}
	const token, other = "first-token-0123456789", "other-token-0123456789"
	for _, tt := range []struct {
		name          string
		before, after Config
		token         string
		want          codes.Code
	}{
		{
			"nothing changed",
			Config{Principals: []Rules{rules("a", token, "**")}},
			Config{Principals: []Rules{rules("b", other, "**"), rules("a", token, "**")}},
			token, codes.OK,
		},
		{
			"another token beside it",
			Config{Principals: []Rules{rules("a", token, "**")}},
			Config{Principals: []Rules{{Name: "a", Tokens: secret.List(other, token), Sources: []string{"*"}, Types: []string{"**"}}}},
			token, codes.OK,
		},
		{
			"token withdrawn",
			Config{Principals: []Rules{rules("a", token, "**")}},
			Config{Principals: []Rules{rules("a", other, "**")}},
			token, codes.Unauthenticated,
		},
		{
			"principal removed",
			Config{Principals: []Rules{rules("a", token, "**")}},
			Config{Principals: []Rules{rules("b", other, "**")}},
			token, codes.Unauthenticated,
		},
		{
			"right withdrawn",
			Config{Principals: []Rules{rules("a", token, "**")}},
			Config{Principals: []Rules{rules("a", token, "order.*")}},
			token, codes.Unavailable,
		},
		{
			"token given to another",
			Config{Principals: []Rules{rules("a", token, "**")}},
			Config{Principals: []Rules{rules("b", token, "**")}},
			token, codes.Unavailable,
		},
		{"token needed now", Config{}, Config{Tokens: secret.List(token)}, "", codes.Unauthenticated},
		{"still open", Config{}, Config{}, "", codes.OK},
		{"raw webhooks not shown any more", Config{}, Config{AdminTokens: secret.List(token)}, "", codes.Unavailable},
		{"same tokens", Config{Tokens: secret.List(token)}, Config{Tokens: secret.List(other, token)}, token, codes.OK},
		{"no token needed any more", Config{Tokens: secret.List(token)}, Config{}, token, codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := New(tt.before)
			call := Call{Method: "/bridge.stream.v1.EventStreamService/Tail"}
			if tt.token != "" {
				call.Authorization = []string{"Bearer " + tt.token}
			}
			ctx, err := a.Admit(context.Background(), call)
			if err != nil {
				t.Fatal(err)
			}
			ctx, release := a.Follow(ctx)
			defer release()
			a.Recheck()
			if err := Ended(ctx); err != nil {
				t.Fatalf("ended before: %v", err)
			}
			a.Replace(tt.after)
			if got := status.Code(Ended(ctx)); got != tt.want {
				t.Errorf("the call ended with %v, want %v", got, tt.want)
			}
			a.Recheck()
			if got := status.Code(Ended(ctx)); got != tt.want {
				t.Errorf("later: %v", got)
			}
		})
	}
}

// TestReplaceAdmits: the next call is judged by the new configuration.
func TestReplaceAdmits(t *testing.T) {
	a := New(Config{})
	admit := func(method, token string) codes.Code {
		call := Call{Method: method}
		if token != "" {
			call.Authorization = []string{"Bearer " + token}
		}
		_, err := a.Admit(context.Background(), call)
		return status.Code(err)
	}
	const tail, list = "/bridge.stream.v1.EventStreamService/Tail", "/bridge.admin.v1.AdminService/ListSinks"
	const token, admin = "first-token-0123456789", "admin-token-0123456789"
	for _, tt := range []struct {
		config                  Config
		open, openAdmin         codes.Code
		bearer, bearerAdmin     codes.Code
		operator, operatorAdmin codes.Code
	}{
		{Config{}, codes.OK, codes.OK, codes.OK, codes.OK, codes.OK, codes.OK},
		{Config{Tokens: secret.List(token)}, codes.Unauthenticated, codes.Unauthenticated, codes.OK, codes.OK, codes.Unauthenticated, codes.Unauthenticated},
		{
			Config{Tokens: secret.List(token), AdminTokens: secret.List(admin)},
			codes.Unauthenticated, codes.Unauthenticated,
			codes.OK, codes.PermissionDenied, codes.PermissionDenied, codes.OK,
		},
		{Config{}, codes.OK, codes.OK, codes.OK, codes.OK, codes.OK, codes.OK},
	} {
		a.Replace(tt.config)
		for i, x := range []struct {
			method, token string
			want          codes.Code
		}{
			{tail, "", tt.open},
			{list, "", tt.openAdmin},
			{tail, token, tt.bearer},
			{list, token, tt.bearerAdmin},
			{tail, admin, tt.operator},
			{list, admin, tt.operatorAdmin},
		} {
			if got := admit(x.method, x.token); got != x.want {
				t.Errorf("%d tokens, call %d: %v, want %v", len(tt.config.Tokens), i, got, x.want)
			}
		}
		if a.Open() != (tt.open == codes.OK) {
			t.Errorf("open: %v", a.Open())
		}
	}
}
