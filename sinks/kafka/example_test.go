package kafka_test

import (
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks/kafka"
)

// Check reports all problems at once, with their places.
func ExampleConfig_Check() {
	config := kafka.Config{
		Brokers: []string{"kafka.example"},
		Topic:   "bridge.{vendor}",
		SASL:    &kafka.SASL{Mechanism: "PLAIN", Username: "bridge"},
	}
	fmt.Println(errors.Join(config.Check()...))
	// Output:
	// topic: {vendor} is none of {source}, {connector}, {type}, {kind}
	// sasl.password: is missing
	// brokers[0]: is not host:port, without a scheme or a user
}

func ExampleKey() {
	fmt.Println(kafka.Key("returns", "shipment/2b20e85f-2201-494a-b3f9-85d89721174e"))
	// Output: returns/shipment/2b20e85f-2201-494a-b3f9-85d89721174e
}
