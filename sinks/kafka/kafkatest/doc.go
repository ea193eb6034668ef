// Package kafkatest supports tests of the Kafka sink: a real broker, a proxy in front of a broker, and a second client that
// reads topics.
package kafkatest
