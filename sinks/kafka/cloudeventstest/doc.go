// Package cloudeventstest reads the records of the Kafka sink with the official CloudEvents SDK, from a real broker. It is a
// module of its own, so that nothing else depends on the SDK.
package cloudeventstest
