package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// instance is the server as the operator's service sees it.
type instance struct{ *Server }

// Reload implements [admin.Instance].
func (i instance) Reload(ctx context.Context) (*adminv1.ReloadConfigResponse, error) {
	done, err := i.reloads.call(ctx)
	if err != nil {
		return nil, err
	}
	a := &adminv1.ReloadConfigResponse{
		Applied: len(done.problems) == 0, Fingerprint: i.fingerprint(), Problems: problemMessages(done.problems),
		SecretsChanged: uint32(len(done.changes.Secrets)),
	}
	if a.GetApplied() {
		c := done.changes
		a.Changes = &adminv1.ConfigChanges{
			Sources: namedMessage(c.Sources), Sinks: namedMessage(c.Sinks), Principals: namedMessage(c.Principals), Keys: c.Keys,
		}
	}
	return a, nil
}

func namedMessage(c config.NamedChanges) *adminv1.NamedChanges {
	if len(c.Added)+len(c.Removed)+len(c.Changed) == 0 {
		return nil
	}
	return &adminv1.NamedChanges{Added: c.Added, Removed: c.Removed, Changed: c.Changed}
}

func problemMessages(problems []config.Problem) (all []*adminv1.ConfigProblem) {
	for _, p := range problems {
		all = append(all, &adminv1.ConfigProblem{
			File: p.File, Line: uint32(max(p.Line, 0)), Column: uint32(max(p.Column, 0)), Key: p.Path, Reason: p.Reason,
		})
	}
	return all
}

// maxCountedGroups is how many groups are counted.
const maxCountedGroups = 100_000

// Status implements [admin.Instance].
func (i instance) Status(ctx context.Context) (*adminv1.GetStatusResponse, error) {
	current, last := i.current.Load(), i.reloads.last.Load()
	bounds := i.journal.Bounds()
	a := &adminv1.GetStatusResponse{
		Version: Version(), NotReady: i.ready.problem(), Notices: i.ready.notices(),
		Config: &adminv1.ConfigStatus{
			Fingerprint: current.fingerprint, AppliedAt: timestamppb.New(last.appliedAt), Problems: problemMessages(last.problems),
		},
		Streams: uint32(max(i.streams.Stats().Open, 0)),
		Events:  uint64(bounds.Next - bounds.Earliest), NextPosition: uint64(bounds.Next),
	}
	if !last.at.IsZero() {
		a.Config.LastReloadAt = timestamppb.New(last.at)
	}
	replicas, err := i.journal.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	if at := slices.IndexFunc(replicas, func(r journal.Replica) bool { return r.Self }); at >= 0 {
		a.Replica, a.StartedAt = replicas[at].Name, timestamppb.New(replicas[at].Started)
	}
	newest, err := i.journal.Newest(ctx, sourceNames(current.Config))
	if err != nil {
		return nil, err
	}
	for n := range current.Sources {
		s := &adminv1.SourceStatus{Name: current.Sources[n].Name, Connector: current.Sources[n].Connector.Name}
		if at := newest[s.GetName()]; !at.IsZero() {
			s.LastWebhookAt = timestamppb.New(at)
		}
		a.Sources = append(a.Sources, s)
	}
	groups, err := i.groups.List(ctx, "", maxCountedGroups)
	if err != nil {
		return nil, err
	}
	a.Groups = uint32(len(groups))
	return a, nil
}

// configCollector reports the configuration and its reloads when metrics are scraped.
type configCollector struct {
	server                      *Server
	info, successful, successAt *prometheus.Desc
	reloads                     *prometheus.Desc
}

func newConfigCollector(a *Server) *configCollector {
	return &configCollector{
		server: a,
		info: prometheus.NewDesc("bridge_config_info",
			"Always 1. The label is the fingerprint of the configuration that is in effect, which is the same for servers with the same settings.",
			[]string{"fingerprint"}, nil),
		successful: prometheus.NewDesc("bridge_config_last_reload_successful",
			"1 if the last reload of the configuration was applied, or there was none; 0 if it was refused.", nil, nil),
		successAt: prometheus.NewDesc("bridge_config_last_reload_success_timestamp_seconds",
			"When the configuration took effect: at the start, or at the last reload that was applied.", nil, nil),
		reloads: prometheus.NewDesc("bridge_config_reloads_total", "Reloads of the configuration that were applied, and that were refused.",
			[]string{"result"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *configCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.info, c.successful, c.successAt, c.reloads} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *configCollector) Collect(out chan<- prometheus.Metric) {
	last := c.server.reloads.last.Load()
	successful := 1.0
	if len(last.problems) > 0 {
		successful = 0
	}
	seconds := float64(last.appliedAt.UnixMilli()) / float64(time.Second/time.Millisecond)
	out <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, c.server.fingerprint())
	out <- prometheus.MustNewConstMetric(c.successful, prometheus.GaugeValue, successful)
	out <- prometheus.MustNewConstMetric(c.successAt, prometheus.GaugeValue, seconds)
	out <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(last.applied), "applied")
	out <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(last.refused), "refused")
}
