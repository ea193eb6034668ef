package postgres_test

import (
	"fmt"

	"github.com/webhook-bridge/bridge/sinks/postgres"
)

func ExampleConfig_Check() {
	c := postgres.Config{
		URL:   "postgres://bridge:s3cret@db.internal/shop?sslmode=verify-full",
		State: &postgres.State{Kinds: []string{"order", "customers"}},
	}
	fmt.Println(c)
	for _, problem := range c.Check() {
		fmt.Printf("%.39s\n", problem)
	}
	// Output:
	// postgres://db.internal:5432/shop, schema bridge
	// state.kinds[1]: "customers" is no kind;
}
