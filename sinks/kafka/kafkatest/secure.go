package kafkatest

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// User and Password are the credentials that a secure broker accepts with PLAIN and SCRAM.
const (
	User     = "bridge"
	Password = "right, \"and\" long"
)

// Secure is a broker that also has listeners with TLS.
type Secure struct {
	*Broker

	// SASL is the address of a listener with TLS and every SASL mechanism. Mutual is that of one that asks clients for a certificate.
	SASL, Mutual string
}

// SecureFiles are the files of a secure broker.
type SecureFiles struct {
	// Cert and Key are PEM files with the broker's certificate and key, CA with the authority of the clients' certificates.
	Cert, Key, CA string
	// JWKS is a JSON file with the keys that sign tokens for OAUTHBEARER.
	JWKS string
}

// StartSecure behaves like Start, for a secure broker that compacts topics soon. It sets an environment variable for the broker's
// process.
func StartSecure(tb testing.TB, files SecureFiles) *Secure {
	tb.Helper()
	ports, err := freePorts(2)
	if err != nil {
		tb.Fatal(err)
	}
	s := &Secure{SASL: loopback(ports[0]), Mutual: loopback(ports[1])}
	listeners := "SECURE://" + s.SASL + ",MUTUAL://" + s.Mutual
	const (
		secure  = "listener.name.secure."
		modules = "org.apache.kafka.common.security."
	)
	quoted := strings.ReplaceAll(Password, `"`, `\"`)
	// In a properties file a backslash is written twice.
	plain := strings.ReplaceAll(modules+`plain.PlainLoginModule required user_`+User+`="`+quoted+`";`, `\`, `\\`)
	jwks := "file://" + files.JWKS
	tb.Setenv("JAVA_TOOL_OPTIONS", "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls="+jwks)
	s.Broker = Start(tb,
		"listeners+=,"+listeners,
		"advertised.listeners+=,"+listeners,
		"listener.security.protocol.map+=,SECURE:SASL_SSL,MUTUAL:SSL",
		"ssl.keystore.type=PEM",
		"ssl.keystore.certificate.chain="+oneLine(tb, files.Cert),
		"ssl.keystore.key="+oneLine(tb, files.Key),
		"ssl.truststore.type=PEM",
		"ssl.truststore.certificates="+oneLine(tb, files.CA),
		"listener.name.mutual.ssl.client.auth=required",
		secure+"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		secure+"plain.sasl.jaas.config="+plain,
		secure+"scram-sha-256.sasl.jaas.config="+modules+"scram.ScramLoginModule required;",
		secure+"scram-sha-512.sasl.jaas.config="+modules+"scram.ScramLoginModule required;",
		secure+"oauthbearer.sasl.jaas.config="+modules+"oauthbearer.OAuthBearerLoginModule required;",
		secure+"oauthbearer.sasl.server.callback.handler.class="+modules+"oauthbearer.OAuthBearerValidatorCallbackHandler",
		secure+"oauthbearer.sasl.oauthbearer.jwks.endpoint.url="+jwks,
		"log.cleaner.backoff.ms=100",
	)
	s.addUser(tb)
	return s
}

// addUser stores the credentials for SCRAM.
func (s *Secure) addUser(tb testing.TB) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers()...))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		user := kadm.UpsertSCRAM{User: User, Mechanism: mechanism, Iterations: 4096, Password: Password}
		done, err := admin.AlterUserSCRAMs(tb.Context(), nil, []kadm.UpsertSCRAM{user})
		if err == nil {
			err = done.Error()
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// extend adds lines to a properties file. A line "key+=value" adds to the value of the key.
func extend(lines, more []string) []string {
	for _, line := range more {
		key, value, _ := strings.Cut(line, "=")
		key, add := strings.CutSuffix(key, "+")
		if !add {
			lines = append(lines, line)
			continue
		}
		for i := range lines {
			if strings.HasPrefix(lines[i], key+"=") {
				lines[i] += value
			}
		}
	}
	return lines
}

// oneLine returns a file as a value of a properties file.
func oneLine(tb testing.TB, path string) string {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", `\n`)
}

// loopback returns the address of a port that freePorts returned.
func loopback(port string) string {
	if strings.Contains(port, ":") {
		return port
	}
	return net.JoinHostPort("127.0.0.1", port)
}
