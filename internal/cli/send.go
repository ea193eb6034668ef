package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/near"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/simulate"
	"github.com/webhook-bridge/bridge/internal/source"
)

// sender is the command line of send.
type sender struct {
	env              environment
	config, addr, ca string
}

func sendCommand(env environment) *cobra.Command {
	s := &sender{env: env}
	cmd := &cobra.Command{
		Use:   "send SOURCE [EVENT] FILE",
		Short: "Send a webhook as the vendor would",
		Long: `Send a webhook to a source as its vendor would: to the address and with the secret of the configuration, signed if the vendor
signs. FILE has the body; - is standard input. EVENT is needed where the vendor puts the event's name into the URL.
The exit code is 1 unless the answer is success.`,
		Example: `  bridge send returns shipped.json
  bridge connectors sample kasafik orders | bridge send till -`,
		Args: between(2, 3, "a source, the event's name if the vendor puts it into the URL, and a file (- is standard input)"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.send(cmd.Context(), args) },
	}
	configFlag(cmd.Flags(), &s.config)
	baseURLFlag(cmd.Flags(), &s.addr)
	caFlag(cmd.Flags(), &s.ca)
	return cmd
}

// send posts one webhook.
func (s *sender) send(ctx context.Context, args []string) error {
	cfg, err := loadConfig(s.config, s.env)
	if err != nil {
		return err
	}
	source, event, path := args[0], "", args[len(args)-1]
	if len(args) == 3 {
		event = args[1]
	}
	src, err := findSource(cfg, source)
	if err != nil {
		return err
	}
	if c := src.Connector; event == "" && c.EventField == "" && c.EventHeader == "" {
		return &usageError{"needs the event's name: " + c.Name + " puts it into the URL; bridge connectors describe " + c.Name + " lists them"}
	}
	body, err := readInput(s.env, path)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return errors.New("there is nothing to send: the input is empty")
	}
	base, err := baseURL(s.addr, cfg)
	if err != nil {
		return err
	}
	client, err := httpClient(cfg, s.ca)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	answer, err := post(ctx, client, src.Connector, base, src, event, body)
	if err != nil {
		return unsent(ctx, base, err)
	}
	fmt.Fprintf(s.env.stdout, "%d %s\n", answer.status, strings.TrimSpace(answer.body))
	if hint := answerHint(answer, base); hint != "" {
		fmt.Fprintln(s.env.stderr, hint)
	}
	if answer.status != http.StatusOK {
		return &reportedError{exitFailed}
	}
	return nil
}

// sendRemedies are those of the commands that send webhooks.
var sendRemedies = remedies{
	address: "--addr URL sends to another address, -c FILE to the server of a configuration",
	plain:   "--addr with http:// sends without it",
}

const usesTLS = "the server uses TLS: --addr with https:// sends over it, and --ca FILE trusts the certificates in FILE"

// unsent says in words why a webhook could not be sent.
func unsent(ctx context.Context, base string, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	at, parseErr := url.Parse(base)
	if parseErr != nil {
		return err
	}
	if text := sendRemedies.problem(at.Host, err); text != nil {
		return text
	}
	if at.Scheme == "http" && speaksTLS(ctx, at.Host) {
		return fmt.Errorf("no answer from %s: %s", at.Host, usesTLS)
	}
	return fmt.Errorf("no answer from %s: %w", at.Host, err)
}

// answerHint says what an answer that is no success means; nothing if the answer itself says it.
func answerHint(a answer, base string) string {
	switch {
	case a.status == http.StatusUnauthorized:
		return "the server does not accept the secret that this configuration has for the source"
	case a.status == http.StatusBadRequest && strings.Contains(a.body, "HTTP request to an HTTPS server"):
		return usesTLS
	case a.status == http.StatusNotFound:
		return "the server has no such source, or " + base + " is not where it receives webhooks (listen.webhooks)"
	case a.status == http.StatusServiceUnavailable:
		return "the server cannot store webhooks now; its log has the cause"
	default:
		return ""
	}
}

func findSource(cfg *config.Config, name string) (*source.Source, error) {
	var names []string
	for i := range cfg.Sources {
		if cfg.Sources[i].Name == name {
			return &cfg.Sources[i], nil
		}
		names = append(names, cfg.Sources[i].Name)
	}
	return nil, fmt.Errorf("no source %q in the configuration%s", name, near.List(name, names))
}

func readInput(env environment, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(env.stdin)
	}
	return os.ReadFile(path)
}

func baseURL(addr string, cfg *config.Config) (string, error) {
	scheme := "http"
	if cfg.Listen.Webhooks.TLS != nil {
		scheme = "https"
	}
	if addr != "" {
		if !strings.Contains(addr, "://") {
			addr = scheme + "://" + addr // host and port alone
		}
		if u, err := url.Parse(addr); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", &usageError{"--addr is a URL such as http://127.0.0.1:8080"}
		}
		return strings.TrimSuffix(addr, "/"), nil
	}
	return scheme + "://" + dialable(cfg.Listen.Webhooks.Addr), nil
}

func httpClient(cfg *config.Config, ca string) (*http.Client, error) {
	transport, err := webhooksTransport(cfg, ca)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}, nil
}

// webhooksTransport trusts the certificate of the webhooks' listener, if it has one, or those in the file ca.
func webhooksTransport(cfg *config.Config, ca string) (*http.Transport, error) {
	transport := &http.Transport{}
	if t := cfg.Listen.Webhooks.TLS; t != nil && ca == "" {
		ca = t.CertFile
	}
	if ca != "" {
		tlsConfig, err := clientTLS(ca)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = tlsConfig
	}
	return transport, nil
}

type answer struct {
	status int
	body   string
}

// post sends one webhook with the source's first secret. Errors never show the URL, which may hold it.
func post(
	ctx context.Context, client *http.Client, c *connectors.Connector, base string, src *source.Source, event string, body []byte,
) (answer, error) {
	req, err := newRequest(ctx, c, base, src, event, body)
	if err != nil {
		return answer{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return answer{resp.StatusCode, string(text)}, err
}

// newRequest makes the request that the source's vendor would: its event in the URL or in a header, an id of its own where
// the vendor sends one, and the secret or a signature.
func newRequest(
	ctx context.Context, c *connectors.Connector, base string, src *source.Source, event string, body []byte,
) (*http.Request, error) {
	at, err := url.Parse(base + "/")
	if err != nil {
		return nil, errors.New("the address is no valid URL")
	}
	to, err := target(at, src, secret.Reveal(src.Auth.Values))
	if err != nil {
		return nil, err
	}
	body, contentType := formOf(c, body)
	w := simulate.Webhook{Header: http.Header{"Content-Type": {contentType}}, Key: uuid.NewString(), Body: body}
	switch {
	case event == "":
	case c.EventHeader != "":
		w.Header.Set(c.EventHeader, event)
	default:
		w.Path = event
	}
	return to.Request(ctx, c.KeyHeader, &w, time.Now())
}

// formOf puts JSON into the form that the vendor sends, if it sends forms.
func formOf(c *connectors.Connector, body []byte) (sent []byte, contentType string) {
	if c.FormField == "" {
		return body, "application/json"
	}
	if text := bytes.TrimLeft(body, " \t\r\n"); bytes.HasPrefix(text, []byte("{")) || bytes.HasPrefix(text, []byte("[")) {
		body = []byte(url.Values{c.FormField: {string(body)}}.Encode())
	}
	return body, "application/x-www-form-urlencoded"
}
