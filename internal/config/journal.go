package config

import (
	"os"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
)

// journal resolves where the journal is: in a folder, unless PostgreSQL is configured.
func (r resolver) journal(file *configv1.Journal) Journal {
	keep := file.GetRetention()
	j := Journal{
		Age:           r.duration("journal.retention.age", keep.GetAge()),
		Size:          r.size("journal.retention.size", keep.GetSize(), 0),
		QuarantineAge: r.duration("journal.retention.quarantine_age", keep.GetQuarantineAge()),
		ParkedAge:     r.duration("journal.retention.parked_age", keep.GetParkedAge()),
	}
	if p := file.GetPostgres(); p != nil {
		j.Postgres = r.postgres(file, p)
		return j
	}
	j.Dir = text("journal.dir", file.GetDir())
	j.MinFree = r.size("journal.min_free", file.GetMinFree(), 0)
	if info, err := os.Stat(j.Dir); err == nil && !info.IsDir() {
		r.addf("journal.dir", "is not a folder")
	}
	return j
}

// postgres resolves a journal in PostgreSQL, and refuses the keys that are for the folder alone.
func (r resolver) postgres(file *configv1.Journal, p *configv1.Postgres) *Postgres {
	line := r.place("journal.postgres").line
	if file.GetDir() != "" {
		r.addf("journal.dir", "cannot stand beside journal.postgres in line %d: the journal is in one place", line)
	}
	if file.GetMinFree() != "" {
		r.addf("journal.min_free", "cannot stand beside journal.postgres in line %d: it is for the folder's disk; "+
			"watch the disk of the database with the database's own means", line)
	}
	name := p.GetReplica()
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			r.addf("journal.postgres.replica", "is missing, and the host has no name")
		}
	}
	return &Postgres{
		URL:          r.secret("journal.postgres.url", p.GetUrl()),
		Schema:       text("journal.postgres.schema", p.GetSchema()),
		ReplicatedBy: text("journal.postgres.replicated_by", p.GetReplicatedBy()),
		Replica:      name,
	}
}

// pinned checks and resolves the replica of a sink.
func (r resolver) pinned(path string, file *configv1.Sink, j Journal) string {
	switch name := file.GetReplica(); {
	case name != "" && j.Postgres == nil:
		r.addf(path+".replica", "is for a journal in PostgreSQL: the folder of journal.dir has one replica")
	case name == "" && j.Postgres != nil && file.GetFile() != nil:
		r.addf(path+".file", "needs %s.replica where the journal is in PostgreSQL: the file is on one machine, and any replica "+
			"could deliver to the sink", path)
	default:
		return name
	}
	return ""
}
