package cli

import (
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/source"
)

//go:embed init.yaml
var initConfig string

// beginning is the command line of init.
type beginning struct {
	env                environment
	config             string
	connectors         []string
	currency, timeZone string
}

func initCommand(env environment) *cobra.Command {
	b := &beginning{env: env}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration, with a new secret for each source",
		Long: `Write a first configuration: a source for each connector that --connector names, and a new random secret for each, in a file of
its own that only you can read. Nothing is overwritten: if the configuration exists, the command fails, and a secret that exists stays.

Without --connector there is a source for each connector that needs no further setting.`,
		Example: `  bridge init && bridge check && bridge serve
  bridge init --connector retino
  bridge init --connector dealpos --currency IDR --time-zone Asia/Jakarta`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return b.write() },
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&b.connectors, "connector", nil, "make a source for this `connector`; may be repeated")
	fs.StringVar(&b.currency, "currency", "", "the `code` of the currency that the vendor leaves out, such as EUR")
	fs.StringVar(&b.timeZone, "time-zone", "", "the time `zone` that the vendor leaves out, such as Europe/Prague")
	configFlag(fs, &b.config)
	return cmd
}

// write makes the secrets and the configuration.
func (b *beginning) write() error {
	chosen, err := b.choose()
	if err != nil {
		return err
	}
	secrets := make([]string, len(chosen))
	for i, c := range chosen {
		secrets[i] = newSecret(c)
	}
	// With the secrets themselves, because their files are not there yet.
	if _, err := b.env.plugins.ParseConfig(b.config, []byte(b.text(chosen, secrets)), b.env.lookup); err != nil {
		return &usageError{err.Error()}
	}
	// First of all, so that nothing else is written if the file is there.
	file, err := os.OpenFile(b.config, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // it has no secret
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists, and is left as it is: -c FILE writes another file", b.config)
	}
	if err != nil {
		return err
	}
	folder := filepath.Join(filepath.Dir(b.config), "secrets")
	var paths, references []string
	err = makeFolder(folder)
	for i := 0; err == nil && i < len(chosen); i++ {
		path := filepath.Join(folder, chosen[i].Name)
		paths, references = append(paths, path), append(references, "${file:"+filepath.ToSlash(path)+"}")
		err = writeSecret(path, secrets[i])
	}
	if err == nil {
		_, err = file.WriteString(b.text(chosen, references))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(b.config))
	}
	b.report(chosen, paths)
	return nil
}

// choose returns the connectors to configure.
func (b *beginning) choose() ([]*connectors.Connector, error) {
	var chosen []*connectors.Connector
	for _, name := range b.connectors {
		c, err := connectorNamed(b.env.plugins, name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(chosen, c) {
			continue
		}
		var missing []string
		if c.NeedsCurrency && b.currency == "" {
			missing = append(missing, "--currency CODE")
		}
		if c.NeedsTimeZone && b.timeZone == "" {
			missing = append(missing, "--time-zone ZONE")
		}
		if missing != nil {
			return nil, &usageError{"the vendor of " + c.Name + " leaves out what only you know: add " + strings.Join(missing, " and ")}
		}
		chosen = append(chosen, c)
	}
	if chosen != nil {
		return chosen, nil
	}
	for _, name := range vendorNames(b.env.plugins) {
		if c := b.env.plugins.Connector(name); !c.NeedsCurrency && !c.NeedsTimeZone {
			chosen = append(chosen, c)
		}
	}
	if chosen == nil {
		return nil, &usageError{"needs --connector: one of " + strings.Join(vendorNames(b.env.plugins), ", ")}
	}
	return chosen, nil
}

// text is the configuration with these secrets, or references to them.
func (b *beginning) text(chosen []*connectors.Connector, secrets []string) string {
	var sources, out strings.Builder
	for i, c := range chosen {
		if i > 0 {
			sources.WriteString("\n")
		}
		fmt.Fprintf(&sources, "  # %s\n", howSent(c))
		sources.WriteString(sourceText(c.Name, c, secrets[i], b.currency, b.timeZone))
	}
	flag := ""
	if b.config != defaultConfig {
		flag = " -c " + b.config
	}
	t := template.Must(template.New("init.yaml").Parse(initConfig))
	// A strings.Builder takes all, and the template is tested.
	_ = t.Execute(&out, map[string]string{"Sources": sources.String(), "Flag": flag})
	return out.String()
}

// howSent says where the vendor's webhooks go, and where the secret is in them.
func howSent(c *connectors.Connector) string {
	path := pathOf(c, "{event}")
	switch schemeOf(c) {
	case source.SchemeHMAC:
		return "POST " + path + ", signed in the header " + c.Verification.HMAC.Header
	case source.SchemeHeader:
		return "POST " + path + ", with the secret in the header " + c.Verification.Header
	default:
		return "POST " + path + ", with the secret in place of {token}"
	}
}

// report says what was written, and what comes next.
func (b *beginning) report(chosen []*connectors.Connector, secrets []string) {
	var names []string
	for _, c := range chosen {
		names = append(names, c.Name)
	}
	flag := ""
	if b.config != defaultConfig {
		flag = " -c " + b.config
	}
	fmt.Fprintf(b.env.stdout, "%s has a source for each of: %s\n", b.config, strings.Join(names, ", "))
	fmt.Fprintf(b.env.stdout, "Each source has a secret of its own, which its vendor needs too: %s\n", strings.Join(secrets, ", "))
	fmt.Fprintf(b.env.stdout, "\nNext:\n  bridge check%[1]s\n  bridge serve%[1]s\n", flag)
}

// makeFolder makes the folder of the secrets, which git ignores.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return writeSecret(filepath.Join(path, ".gitignore"), "*")
}

// writeSecret writes a file that only its owner can read. A file that exists stays.
func writeSecret(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Close())
}

// secretBytes is how many random bytes a new secret has.
const secretBytes = 32

// newSecret makes a secret in the form that the vendor's secrets have.
func newSecret(c *connectors.Connector) string {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // It never fails: the process ends without randomness.
	h := c.Verification.HMAC
	if schemeOf(c) != source.SchemeHMAC {
		return hex.EncodeToString(random)
	}
	if h.SecretEncoding == "base64" {
		return h.SecretPrefix + base64.StdEncoding.EncodeToString(random)
	}
	return h.SecretPrefix + hex.EncodeToString(random)
}
