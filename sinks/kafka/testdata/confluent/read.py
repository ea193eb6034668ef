"""Reads a topic with Confluent's own deserializers, and with the schemas that the values name in the registry.

    read.py BROKER REGISTRY TOPIC FORMAT COUNT

Prints a line of JSON for each record: its key, and its value as protobuf in Base64, or as JSON, or null.
"""
import base64
import json
import struct
import sys

from confluent_kafka import Consumer, DeserializingConsumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import StringDeserializer
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, message_factory, timestamp_pb2

broker, registry, topic, form, count = sys.argv[1:]
client = SchemaRegistryClient({"url": registry})


def consume(kind, group, **settings):
    """Yields the messages of the topic."""
    consumer = kind({"bootstrap.servers": broker, "group.id": group + topic, "auto.offset.reset": "earliest", **settings})
    consumer.subscribe([topic])
    for _ in range(int(count)):
        message = consumer.poll(30)
        if message is None or message.error():
            sys.exit("no record within 30 seconds: %s" % (message and message.error()))
        yield message
    consumer.close()


def add(pool, path, schema, done):
    """Adds a schema of the registry to a pool, after the ones that it refers to."""
    if path in done:
        return
    done.add(path)
    for reference in schema.references or []:
        version = client.get_version(reference.subject, reference.version)
        add(pool, reference.name, version.schema, done)
    file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(schema.schema_str))
    if file.name != path:
        sys.exit("the file %s is registered as %s" % (file.name, path))
    pool.Add(file)


def event():
    """Returns the class of events, made from the schema that the first value names, and nothing else."""
    value = next(consume(Consumer, "first-")).value()
    magic, schema_id = struct.unpack(">bI", value[:5])
    if magic != 0:
        sys.exit("the value begins with %d" % magic)
    pool = descriptor_pool.DescriptorPool()
    for known in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    add(pool, "bridge/event/v1/event.proto", client.get_schema(schema_id), set())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bridge.event.v1.Event"))


if form == "json":
    # The deserializer validates each value by the schema that it names.
    deserialize = JSONDeserializer(None, schema_registry_client=client)
else:
    # It gets no client: then it would look for google/type/decimal.proto among its own files, where that is missing (2.16).
    deserialize = ProtobufDeserializer(event(), {"use.deprecated.format": False})

settings = {"key.deserializer": StringDeserializer(), "value.deserializer": deserialize}
for message in consume(DeserializingConsumer, "all-", **settings):
    value = message.value()
    if value is not None and form != "json":
        value = base64.b64encode(value.SerializeToString()).decode()
    print(json.dumps({"key": message.key(), "value": value}))
