package endpoint_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/endpoint"
)

func TestAddresses(t *testing.T) {
	const canary = "hunter2"
	for _, a := range []string{"", "h", ":1", "h:", "h:0", "h:65536", "h:x", "amqp://u:" + canary + "@h:1", "u:" + canary + "@h:1", "a:1,b:2", "h:1/x", "h b:1"} {
		problems := endpoint.Addresses("servers", []string{"good:1", "[::1]:65535", a})
		if len(problems) != 1 {
			t.Errorf("%q: %v", a, problems)
			continue
		}
		if at, ok := errors.AsType[*sinks.KeyError](problems[0]); !ok || at.Key != "servers[2]" || strings.Contains(at.Error(), canary) {
			t.Errorf("%q: %v", a, problems)
		}
	}
	if problems := endpoint.Addresses("servers", nil); len(problems) != 1 {
		t.Errorf("no address: %v", problems)
	}
}

func TestLogin(t *testing.T) {
	secret := func() string { return "secret" }
	for _, c := range []struct {
		username string
		password func() string
		ok       bool
	}{{"", nil, true}, {"u", secret, true}, {"u", nil, false}, {"", secret, false}} {
		if problems := endpoint.Login(c.username, c.password); (problems == nil) != c.ok {
			t.Errorf("%q, password %t: %v", c.username, c.password != nil, problems)
		}
	}
}
