package console

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/history"
)

// maxGroups is how many groups the overview lists.
const maxGroups = 50

// badge is a state in a word. Its tone is a class: good, warn, bad or plain.
type badge struct{ Text, Tone string }

// overviewView is the state of the server at a glance.
type overviewView struct {
	Server   *adminv1.GetStatusResponse
	State    badge
	Sources  []sourceRow
	Sinks    []sinkRow
	Groups   []*streamv1.Group
	More     uint32 // groups that are not listed
	Replicas []*adminv1.Replica
	Plots    []plot
	Since    time.Time
	At       time.Time
	// Paused says that the page does not load itself again.
	Paused bool
}

type sourceRow struct {
	Name, Connector string
	Last            *timestamppb.Timestamp
	Rate            float64
	Hour            history.Counts
	// Reasons are why requests were refused, the most frequent first.
	Reasons string
	Alerts  []string
}

type sinkRow struct {
	*adminv1.Sink

	State badge
	// Behind is how old the first event is that it has not got.
	Behind string
}

func (c *Console) overview(r *http.Request) (any, error) {
	server, err := c.admin.GetStatus(r.Context(), &adminv1.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	replicas, err := c.admin.ListReplicas(r.Context(), &adminv1.ListReplicasRequest{})
	if err != nil {
		return nil, err
	}
	groups, err := c.streams.ListGroups(r.Context(), &streamv1.ListGroupsRequest{PageSize: maxGroups})
	if err != nil {
		return nil, err
	}
	v := overviewView{
		Server: server, Groups: groups.GetGroups(), Replicas: replicas.GetReplicas(), At: now(), Since: c.history.Since(),
		Paused: r.URL.Query().Get("live") == "off",
	}
	v.More = server.GetGroups() - min(server.GetGroups(), uint32(len(v.Groups)))
	v.Plots = plots(c.history.Points(), overviewCurves, v.At)
	v.Sources = sourceRows(server.GetSources(), c.history.Sources())
	for _, s := range server.GetSinks() {
		v.Sinks = append(v.Sinks, newSinkRow(s))
	}
	v.State = v.state()
	return v, nil
}

func sourceRows(configured []*adminv1.SourceStatus, counted map[string]history.Source) (rows []sourceRow) {
	for _, s := range configured {
		h := counted[s.GetName()]
		rows = append(rows, sourceRow{
			Name: s.GetName(), Connector: s.GetConnector(), Last: s.GetLastWebhookAt(), Rate: h.Rate, Hour: h.Hour, Alerts: h.Alerts,
			Reasons: reasons(h.Refused),
		})
	}
	return rows
}

// reasons writes why requests were refused: the three most frequent reasons.
func reasons(counted map[string]float64) string {
	names := slices.SortedFunc(maps.Keys(counted), func(a, b string) int {
		return cmp.Or(cmp.Compare(counted[b], counted[a]), strings.Compare(a, b))
	})
	var all []string
	for i, name := range names {
		if i == 3 {
			all = append(all, "…")
			break
		}
		all = append(all, words(name)+" "+count(counted[name]))
	}
	return strings.Join(all, ", ")
}

func newSinkRow(s *adminv1.Sink) sinkRow {
	row := sinkRow{Sink: s, State: sinkState(s)}
	if s.GetLagEvents() > 0 {
		row.Behind = duration(time.Duration(s.GetLagSeconds() * float64(time.Second)))
	}
	return row
}

// sinkState is the state of a sink in a word. The first that applies counts.
func sinkState(s *adminv1.Sink) badge {
	switch {
	case s.GetKind() == "":
		return badge{"not configured", "plain"}
	case s.GetPaused():
		return badge{"paused", "warn"}
	case len(s.GetBlocked()) > 0:
		return badge{"waits at an event", "bad"}
	case !s.GetClaimed():
		return badge{"nobody delivers", "warn"}
	case s.GetBreaker() == "open":
		return badge{"away", "bad"}
	case s.GetBreaker() == "half-open", s.GetProblem() != "":
		return badge{"failing", "bad"}
	case s.GetLagSeconds() > 60:
		return badge{"behind", "warn"}
	}
	return badge{"delivers", "good"}
}

// state is the state of the server in a few words. The first that applies counts.
func (v *overviewView) state() badge {
	switch {
	case v.Server.GetNotReady() != "":
		return badge{"not ready", "bad"}
	case slices.ContainsFunc(v.Sources, func(s sourceRow) bool { return len(s.Alerts) > 0 }):
		return badge{"ready, with alerts", "warn"}
	case len(v.Server.GetNotices()) > 0, len(v.Server.GetConfig().GetProblems()) > 0:
		return badge{"ready, with notices", "warn"}
	case slices.ContainsFunc(v.Sinks, func(s sinkRow) bool { return s.State.Tone == "bad" }):
		return badge{"ready, and a sink does not get its events", "warn"}
	}
	return badge{"ready", "good"}
}
