package postgres

import (
	"os"
	"testing"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
