package config

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
)

// LoadClient reads from a server's configuration file what a client of one of the server's listeners needs, grpc or ops: where the server
// listens, and the tokens. The other settings are not in the result. Their problems are the server's to report, and stop no client: not even references that only the server can
// resolve. A secret that cannot be read is left out, and is among the problems. The error is as of [Load]; it says that the file does not tell
// for sure where the server is.
func LoadClient(path, listener string, env func(string) (string, bool)) (*Config, []Problem, error) {
	data, err := readConfig(path)
	if err != nil {
		return nil, nil, err
	}
	r := newReport(path)
	r.source = data
	file := new(configv1.Config)
	root, ok := parseYAML(data, r)
	if !ok || !(reader{report: r, expander: expander{env: env, readFile: readBounded}}).root(root, file.ProtoReflect()) {
		return nil, nil, r.err()
	}
	var secrets []Problem
	unsure := newReport(path)
	for _, p := range r.problems {
		switch {
		case hidesAddress(file, listener, p.Path):
			unsure.problems = append(unsure.problems, p)
		case within(p.Path, "access"):
			secrets = append(secrets, p)
		}
	}
	if err := unsure.err(); err != nil {
		return nil, nil, err
	}
	rs := resolver{report: r, readFile: readBounded}
	listen := rs.listen(file.GetListen(), file.GetAccess())
	return &Config{Listen: listen, Access: rs.access(file.GetAccess(), listen)}, secrets, nil
}

// hidesAddress reports whether a problem of the value at path may be the reason that a listener's address is not the one that file has.
func hidesAddress(file *configv1.Config, listener, path string) bool {
	keys := strings.Split(path, ".")
	if slices.Contains([]string{"", "listen", "listen." + listener, "listen.tls"}, path) || within(path, "listen.tls."+listener) {
		return true
	}
	// A misspelt key may be one of these.
	unknown := func(d protoreflect.MessageDescriptor, key string) bool {
		return d.Fields().ByName(protoreflect.Name(key)) == nil
	}
	listen := file.GetListen().ProtoReflect()
	switch {
	case len(keys) == 1:
		return listen.Get(listen.Descriptor().Fields().ByName(protoreflect.Name(listener))).String() == "" && !strings.Contains(path, "[") && unknown(file.ProtoReflect().Descriptor(), path)
	case len(keys) == 2 && keys[0] == "listen":
		return unknown(listen.Descriptor(), keys[1])
	}
	return false
}
