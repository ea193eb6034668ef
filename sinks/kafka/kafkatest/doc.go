// Package kafkatest is what tests of sinks onto Kafka need: a real broker, a gate in front of one, and a second client
// that reads what is there.
package kafkatest
