// Package endpoint checks the settings by which a sink reaches its servers: their addresses, and the login.
package endpoint

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/webhook-bridge/bridge/sinks"
)

// Addresses returns the problems of addresses with a port, each a [*sinks.KeyError] below the given key: "brokers[0]". None shows an
// address, which may hold a password by mistake.
func Addresses(key string, addresses []string) []error {
	if len(addresses) == 0 {
		return []error{&sinks.KeyError{Key: key, Err: errors.New("none is named")}}
	}
	var problems []error
	for i, a := range addresses {
		if err := check(a); err != nil {
			problems = append(problems, &sinks.KeyError{Key: fmt.Sprintf("%s[%d]", key, i), Err: err})
		}
	}
	return problems
}

func check(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(address, "/,@ ") {
		return errors.New("is not host:port, without a scheme or a user")
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return errors.New("its port is not between 1 and 65535")
	}
	return nil
}

// Login returns the problem of a user without a password, or of a password without a user, as a [*sinks.KeyError].
func Login(username string, password func() string) []error {
	switch {
	case username == "" && password != nil:
		return []error{&sinks.KeyError{Key: "username", Err: errors.New("is missing, with password given")}}
	case username != "" && password == nil:
		return []error{&sinks.KeyError{Key: "password", Err: errors.New("is missing, with username given")}}
	}
	return nil
}
