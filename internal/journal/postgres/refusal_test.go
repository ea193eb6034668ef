package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

func TestUnsafeServersAreRefused(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1, Asynchronous: true})
	s := newSite(t, c)
	refused := func(name, text string, want error, change func(*Config)) {
		t.Helper()
		cfg := s.config(c.URL())
		change(&cfg)
		j, err := Open(t.Context(), cfg)
		if err == nil {
			_ = j.Close()
			t.Errorf("%s: it opens", name)
			return
		}
		if want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error is %v; want %v with %q", name, err, want, text)
		}
		if strings.Contains(err.Error(), c.Password()) {
			t.Errorf("%s: the error has the password: %v", name, err)
		}
	}
	url := func(url string) func(*Config) {
		return func(cfg *Config) { cfg.URL, cfg.ReplicatedBy = url, ByNothing }
	}
	refused("no standby", "synchronous_standby_names", ErrUnsafe, func(*Config) {})
	refused("a standby", "in recovery", nil, url(c.Standby(0).URL(pgtest.User, pgtest.Database)))
	refused("no such database", "3D000", nil, url(c.Primary().URL(pgtest.User, "nowhere")))
	refused("a wrong password", "28P01", nil, url(strings.Replace(c.URL(), c.Password(), "wrong", 1)))
	refused("a port that is none", "cannot be read", nil, url("postgres://bridge:"+c.Password()+"@localhost:none/bridge"))
	refused("a wrong schema", "lower-case", nil, func(cfg *Config) { cfg.Schema = "Not; good" })

	c.Exec(t, `create role reader login password '`+c.Password()+`'`)
	refused("no rights", "42501", nil, url(c.Primary().URL("reader", pgtest.Database)))
	c.Exec(t, `create role lazy login password '`+c.Password()+`'`, `alter role lazy set default_transaction_read_only = on`)
	refused("read-only", "default_transaction_read_only", nil, url(c.Primary().URL("lazy", pgtest.Database)))
	c.Exec(t, `create database latin encoding 'LATIN1' locale 'C' template template0 owner `+pgtest.User)
	refused("another encoding", "LATIN1", errEncoding, url(c.Primary().URL(pgtest.User, "latin")))

	c.Primary().Set(t, "full_page_writes", "off")
	refused("full_page_writes off", "full_page_writes", ErrUnsafe, url(c.URL()))
	c.Primary().Set(t, "full_page_writes", "")
	c.Primary().Set(t, "fsync", "off")
	refused("fsync off", "fsync", ErrUnsafe, url(c.URL()))
	c.Primary().Set(t, "fsync", "")

	j := s.open(func(cfg *Config) { cfg.ReplicatedBy = ByNothing })
	appendTo(t, j, newEntry())
	_ = j.Close()
	c.Exec(t, `update `+s.schema+`.log set format = 1000`)
	refused("a newer format", "1000", ErrNewerFormat, url(c.URL()))
}
