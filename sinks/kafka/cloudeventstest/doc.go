// Package cloudeventstest reads what the sink onto Kafka writes with the official CloudEvents SDK, on a real broker. It is a
// module of its own, so that nothing else depends on the SDK.
package cloudeventstest
