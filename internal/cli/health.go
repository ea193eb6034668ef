package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/internal/config"
)

// defaultOps is where a server's ops listener is by default, from its own machine.
const defaultOps = "127.0.0.1:8081"

// maxHealth bounds what is read of an answer.
const maxHealth = 64 << 10

type healthFlags struct {
	config, addr string
	live         bool
	timeout      time.Duration
}

func healthCommand(env environment) *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say whether a server on this machine is ready for webhooks",
		Long: `Ask the ops listener of a server on this machine whether it is ready for webhooks, and print its answer: for health checks of containers,
scripts and people. --live asks only whether the process answers.

It exits 0 if the server is ready, and 1 if it is not or does not answer. The address is from the configuration; without one it is ` + defaultOps + `. No
credential is needed. A TLS certificate is not verified: nothing secret is sent, and the answer decides nothing elsewhere.`,
		Example: `  bridge health -c /etc/bridge/bridge.yaml
  bridge health --addr 127.0.0.1:8081 --live`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), env, cmd.Flags().Changed("config"))
		},
	}
	configFlag(cmd.Flags(), &f.config)
	cmd.Flags().StringVar(&f.addr, "addr", "", "the ops listener's `address` (default: from the configuration, otherwise "+defaultOps+")")
	cmd.Flags().BoolVar(&f.live, "live", false, "ask whether the process answers, not whether it is ready")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Second, "wait no longer than this `time` for the answer")
	return cmd
}

func (f healthFlags) run(ctx context.Context, env environment, named bool) error {
	if f.timeout <= 0 {
		return &usageError{"--timeout must be more than 0"}
	}
	ops, err := f.listener(env, named)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	scheme, path := "http", "/readyz"
	if ops.TLS != nil {
		scheme = "https"
	}
	if f.live {
		path = "/healthz"
	}
	status, text, err := ask(ctx, scheme+"://"+dialable(ops.Addr)+path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		fmt.Fprintf(env.stderr, "not ready: %s\n", text)
		return &reportedError{exitFailed}
	}
	_, err = fmt.Fprintln(env.stdout, text)
	return err
}

// listener returns the ops listener: of the configuration that -c names, otherwise of bridge.yaml if it is there and no address is given.
func (f healthFlags) listener(env environment, named bool) (config.Listener, error) {
	if !named && f.addr != "" {
		return config.Listener{Addr: f.addr}, nil
	}
	if _, err := os.Stat(f.config); err != nil && !named {
		return config.Listener{Addr: defaultOps}, nil
	}
	cfg, _, err := config.LoadClient(f.config, "ops", env.lookup)
	if err != nil {
		return config.Listener{}, configRefused(f.config, env, err)
	}
	ops := cfg.Listen.Ops
	if f.addr != "" {
		ops.Addr = f.addr
	}
	return ops, nil
}

// ask gets a page of a server on this machine, by no proxy.
func ask(ctx context.Context, url string) (status int, text string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", &usageError{"--addr must be host:port, such as " + defaultOps}
	}
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			// The certificate is for the name that others call the server by.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the help says why
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxHealth))
	if err != nil {
		return 0, "", err
	}
	return answer.StatusCode, lines(string(body)), nil
}

// lines is an answer's text without what could steer a terminal.
func lines(body string) string {
	all := strings.Split(strings.TrimSpace(body), "\n")
	for i := range all {
		all[i] = unsteering(all[i])
	}
	return strings.Join(all, "\n")
}
