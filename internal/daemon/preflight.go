package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal/postgres"
	"github.com/webhook-bridge/bridge/internal/signature"
	"github.com/webhook-bridge/bridge/internal/source"
)

// Severity says what a finding means.
type Severity uint8

const (
	// Warning is worth knowing, and may be intended.
	Warning Severity = iota
	// Fault is a part that will not work: a sink, or TLS for some clients. A server starts, and tries again.
	Fault
	// Refusal is a server that cannot start.
	Refusal
)

// Finding is something on this machine, or in the network, that does not fit the configuration.
type Finding struct {
	Severity Severity
	config.Problem
}

// Probes says what [Plugins.Preflight] looks at. It never creates or changes a file.
type Probes struct {
	// Files are folders, certificates, files of secrets, and what sources say of each other.
	Files bool
	// Lookups resolve the hosts of sinks.
	Lookups bool
	// Listeners listens on the configured addresses for a moment.
	Listeners bool
	// Database connects to the journal's database, as the start of a server does.
	Database bool
}

const (
	// lookupTimeout limits all look-ups together.
	lookupTimeout = 5 * time.Second
	// renewalTime is how long before its end a certificate should have been renewed.
	renewalTime = 14 * 24 * time.Hour
)

// Preflight compares the configuration with the machine that it is for. bridge check and the start of a server both use it, so
// they find the same. It returns all findings, in the file's order.
func (p Plugins) Preflight(ctx context.Context, cfg *config.Config, probes Probes) []Finding {
	f := &preflight{cfg: cfg, probes: probes, now: time.Now()}
	if probes.Database && cfg.Journal.Postgres != nil {
		f.database(ctx)
	}
	if probes.Files {
		f.journal()
		f.certificates()
		f.secrets()
		f.sources()
		f.principals()
	}
	if probes.Listeners {
		f.listeners(ctx)
	}
	for i, s := range cfg.Sinks {
		f.sink(ctx, fmt.Sprintf("sinks[%d].", i), s)
		f.route(fmt.Sprintf("sinks[%d].", i), s)
	}
	slices.SortStableFunc(f.findings, func(a, b Finding) int { return a.Compare(b.Problem) })
	return f.findings
}

// preflight collects the findings.
type preflight struct {
	cfg      *config.Config
	probes   Probes
	now      time.Time
	findings []Finding
}

func (f *preflight) addf(severity Severity, key, format string, args ...any) {
	f.findings = append(f.findings, Finding{severity, f.cfg.ProblemAt(key, fmt.Sprintf(format, args...))})
}

// journal looks at the journal's folder, which is created if it is missing.
func (f *preflight) journal() {
	const key = "journal.dir"
	if f.cfg.Journal.Postgres != nil {
		for _, path := range f.cfg.FilesOf(urlKey) {
			f.permissions(urlKey, path)
		}
		return
	}
	dir := f.cfg.Journal.Dir
	reason, missing := folderProblem(dir)
	switch {
	case reason != "":
		f.addf(Refusal, key, "%s", reason)
	case missing:
		existing, problem := nearestFolder(dir)
		if problem != "" {
			f.addf(Refusal, key, "the folder does not exist and cannot be created: %s", problem)
		} else if parent := filepath.Dir(filepath.Clean(dir)); existing != parent {
			f.addf(Warning, key, "neither the folder nor the one around it exists; both will be created. Is a disk missing?")
		}
	default:
		if lock := filepath.Join(dir, "LOCK"); exists(lock) && writeProblem(lock) != "" {
			f.addf(Refusal, key, "the files in the folder belong to another user: %s", writeProblem(lock))
		}
	}
}

const (
	urlKey = "journal.postgres.url"
	// databaseTimeout limits the look at the database.
	databaseTimeout = 15 * time.Second
)

// database connects to the journal's database.
func (f *preflight) database(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	if err := postgres.Probe(ctx, postgresConfig(f.cfg, nil, nil)); err != nil {
		f.addf(Refusal, urlKey, "%s", strings.Join(strings.Fields(err.Error()), " "))
	}
}

// nearestFolder returns the innermost folder around path that exists, and why nothing can be created in it.
func nearestFolder(path string) (existing, problem string) {
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if info, err := os.Lstat(at); err == nil && info.Mode()&fs.ModeSymlink != 0 && !exists(at) {
			return at, "a link in its path leads to nothing"
		}
		reason, missing := folderProblem(at)
		if !missing || at == filepath.Dir(at) {
			return at, reason
		}
	}
}

// folderProblem returns what is wrong with a folder to write to, and whether it does not exist.
func folderProblem(path string) (reason string, missing bool) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", true
	case errors.Is(err, syscall.ENOTDIR):
		return "a part of its path is not a folder", false
	case err != nil:
		return "the folder " + causeOf(err), false
	case !info.IsDir():
		return "is not a folder", false
	}
	if reason := writeProblem(path); reason != "" {
		return "the folder " + reason, false
	}
	return "", false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// causeOf returns an error of the file system in words, without the path.
func causeOf(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "is on a file system that is read-only"
	case errors.Is(err, fs.ErrPermission):
		return "may not be written to"
	}
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err
	}
	return "cannot be used: " + err.Error()
}

// certificates looks at when certificates are valid. That they are pairs was checked when the configuration was read.
func (f *preflight) certificates() {
	l := f.cfg.Listen
	for _, x := range []struct {
		key string
		tls *config.TLS
	}{{"webhooks", l.Webhooks.TLS}, {"ops", l.Ops.TLS}, {"grpc", l.GRPC.TLS}, {"admin", l.Admin.TLS}} {
		if x.tls != nil {
			f.certificate("listen.tls."+x.key+".", x.tls.CertFile, x.tls.KeyFile)
		}
	}
	for i, s := range f.cfg.Sinks {
		if t := s.ClientTLS(); t != nil && t.CertFile != "" {
			f.certificate(fmt.Sprintf("sinks[%d].%s.tls.", i, s.Kind()), t.CertFile, t.KeyFile)
		}
		if s.Kafka != nil && s.Kafka.TLS != nil && s.Kafka.TLS.CertFile != "" {
			f.certificate(fmt.Sprintf("sinks[%d].kafka.tls.", i), s.Kafka.TLS.CertFile, s.Kafka.TLS.KeyFile)
		}
	}
}

func (f *preflight) certificate(key, certFile, keyFile string) {
	f.permissions(key+"key_file", keyFile)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil || pair.Leaf == nil {
		f.addf(Fault, key+"cert_file", "the certificate and its key cannot be read as a pair")
		return
	}
	const day = "2006-01-02"
	switch from, to := pair.Leaf.NotBefore, pair.Leaf.NotAfter; {
	case f.now.After(to):
		f.addf(Fault, key+"cert_file", "the certificate expired on %s", to.Format(day))
	case f.now.Before(from):
		f.addf(Fault, key+"cert_file", "the certificate is not valid before %s", from.Format(day))
	case to.Sub(f.now) < renewalTime:
		f.addf(Warning, key+"cert_file", "the certificate expires on %s", to.Format(day))
	}
}

// secrets looks at the files of secrets.
func (f *preflight) secrets() {
	for _, s := range f.cfg.Secrets() {
		if s.Value.FromFile() && s.Value.Reveal() == "" {
			f.addf(Warning, s.Value.Place(), "the file it refers to is empty: the secret is not accepted until the file is filled")
		}
		for _, path := range f.cfg.FilesOf(s.Value.Place()) {
			f.permissions(s.Value.Place(), path)
		}
	}
}

// permissions looks at who else may use a file with a secret.
func (f *preflight) permissions(key, path string) {
	info, err := os.Stat(path)
	if err != nil || !hasPermissions {
		return
	}
	switch mode := info.Mode().Perm(); {
	case mode&0o022 != 0:
		f.addf(Warning, key, "other users may write the file with the secret (mode %04o): chmod 600 would do", mode)
	case mode&0o004 != 0:
		f.addf(Warning, key, "every user of this machine may read the file with the secret (mode %04o): chmod 600 would do", mode)
	}
}

// sources looks at what sources say of each other and of the listener.
func (f *preflight) sources() {
	l, seen := f.cfg.Listen, map[string]int{}
	for i := range f.cfg.Sources {
		s := &f.cfg.Sources[i]
		key := fmt.Sprintf("sources[%d].", i)
		if s.Connector.NeedsHTTPS && l.PublicURL == "" && s.Auth.PublicURL == "" && l.Webhooks.TLS == nil && !config.IsLoopback(l.Webhooks.Addr) {
			f.addf(Warning, key+"connector", "the vendor of connector %s calls only URLs with https, and listen.webhooks speaks plain text. "+
				"If a proxy in front has TLS, say so with listen.public_url", s.Connector.Name)
		}
		if s.Auth.Scheme != source.SchemeHMAC || signature.CoverageOf(s.Auth.HMAC.Signed).Path() {
			continue
		}
		for _, v := range s.Auth.Values {
			text := v.Reveal()
			if text == "" {
				continue
			}
			if first, shared := seen[text]; shared && first != i {
				f.addf(Warning, key+"auth.hmac.secrets", "sources[%d] has this secret too, and the signature does not cover the URL's path: "+
					"an attacker who captures a webhook of one can send it to the other", first)
			} else {
				seen[text] = i
			}
		}
	}
}

// listeners listens on each address for a moment.
func (f *preflight) listeners(ctx context.Context) {
	l := f.cfg.Listen
	var inUse []string
	for _, x := range []struct{ name, addr string }{
		{"webhooks", l.Webhooks.Addr}, {"ops", l.Ops.Addr}, {"grpc", l.GRPC.Addr}, {"admin", l.Admin.Addr},
	} {
		key := "listen." + x.name
		host, _, _ := net.SplitHostPort(x.addr)
		isName := host != "" && host != "localhost" && net.ParseIP(host) == nil
		if isName && !f.probes.Lookups {
			continue
		}
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", x.addr)
		if err == nil {
			_ = listener.Close()
			continue
		}
		dns, isDNS := errors.AsType[*net.DNSError](err)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			inUse = append(inUse, key)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			f.addf(Refusal, key, "is not an address of this machine")
		case errors.Is(err, fs.ErrPermission):
			f.addf(Refusal, key, "this user may not listen on the address; ports below 1024 need a permission")
		case isDNS:
			f.addf(Refusal, key, "the host cannot be resolved: %s", dns.Err)
		default:
			f.addf(Refusal, key, "cannot be listened on: %s", errnoText(err))
		}
	}
	f.inUse(inUse)
}

// inUse warns once of the addresses of listeners that another process listens on.
func (f *preflight) inUse(keys []string) {
	switch len(keys) {
	case 0:
	case 1:
		f.addf(Warning, keys[0], "the address is in use now, perhaps by a running server")
	default:
		f.addf(Warning, "listen", "the addresses of %s are in use now, perhaps by a running server", strings.ReplaceAll(strings.Join(keys, ", "), "listen.", ""))
	}
}

func errnoText(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return "the address is not usable"
}

// sink looks at a sink's folder, and at the hosts of its brokers.
func (f *preflight) sink(ctx context.Context, key string, s config.Sink) {
	severity := Fault
	if s.Required {
		severity = Refusal
	}
	switch {
	case s.File != nil && f.probes.Files:
		if reason := fileProblem(s.File.Path); reason != "" {
			f.addf(severity, key+"file.path", "%s", reason)
		}
	case s.Kafka != nil && f.probes.Lookups:
		f.brokers(ctx, key+"kafka.brokers", severity, s.Kafka.Brokers)
	case s.Webhook != nil && f.probes.Lookups:
		f.receiver(ctx, key+"webhook.", s.Webhook)
	}
}

// receiver warns of a webhook sink whose host has only addresses that the sink refuses. The sink looks again at each connection.
func (f *preflight) receiver(ctx context.Context, key string, w *config.Webhook) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	at, err := webhookConfig(w).Unreachable(func(host string) []netip.Addr {
		addrs, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		return addrs
	})
	if err != nil {
		f.addf(Warning, key+at, "the host has no address that the sink would connect to: %s", err)
	}
}

// fileProblem returns what is wrong with a file to append to.
func fileProblem(path string) string {
	reason, missing := folderProblem(filepath.Dir(path))
	switch {
	case missing:
		return "the folder does not exist"
	case strings.HasPrefix(reason, "the folder"):
		return reason
	case reason != "":
		return "the folder around it: " + reason
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			return "is a link that leads to nothing"
		}
		return ""
	case err != nil:
		return "the file " + causeOf(err)
	case info.IsDir():
		return "is a folder, not a file"
	case !info.Mode().IsRegular():
		return "is not a regular file"
	}
	if reason := writeProblem(path); reason != "" {
		return "the file " + reason
	}
	return ""
}

// brokers resolves the hosts, all at the same time. One that is found is enough to start with: the others are warnings.
func (f *preflight) brokers(ctx context.Context, key string, severity Severity, brokers []string) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	problems := make([]error, len(brokers))
	var wg sync.WaitGroup
	for i, broker := range brokers {
		host, _, err := net.SplitHostPort(broker)
		if err != nil {
			continue // the sink's own check has reported it
		}
		wg.Go(func() { _, problems[i] = net.DefaultResolver.LookupHost(ctx, host) })
	}
	wg.Wait()
	if slices.Contains(problems, nil) {
		severity = Warning
	}
	for i, err := range problems {
		at := fmt.Sprintf("%s[%d]", key, i)
		switch dns, ok := errors.AsType[*net.DNSError](err); {
		case err == nil:
		case ok && dns.IsNotFound:
			f.addf(severity, at, "the host cannot be resolved: there is no such host")
		default:
			f.addf(Warning, at, "the host cannot be resolved now: no answer from the name servers")
		}
	}
}
