// Reads COUNT events by the client of browsers, and prints the id of each, and at last the token of the last one.
//
//     node tail.mjs connect|grpc-web|connect-json http://ADDRESS DESCRIPTORS COUNT [TOKEN]
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

const [protocol, baseUrl, descriptors, count, token] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const transport = {
  "connect": () => createConnectTransport({ baseUrl, useBinaryFormat: true }),
  "connect-json": () => createConnectTransport({ baseUrl, jsonOptions: { registry } }),
  "grpc-web": () => createGrpcWebTransport({ baseUrl }),
}[protocol]();
const health = createClient(registry.getService("grpc.health.v1.Health"), transport);
const { status } = await health.check({});
if (status !== 1) throw new Error(`status ${status}`);

const client = createClient(registry.getService("bridge.stream.v1.EventStreamService"), transport);
const start = token ? { at: { case: "token", value: token } } : undefined;
const cut = new AbortController();
let seen = 0, last = token;
read: for await (const { message } of client.tail({ start }, { signal: cut.signal })) {
  if (message.case !== "events") continue;
  for (const delivered of message.value.events) {
    console.log(delivered.event.data.value.id);
    last = delivered.token;
    if (++seen == count) break read;
  }
}
cut.abort();
console.log(last);
