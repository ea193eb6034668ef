// Follows the events of a Bridge, and continues after a restart of either side where it was.
//
//     npm start http://127.0.0.1:9090 position.txt
//
// For a server with TLS, start it with https://…, and name the CA's certificates in the variable BRIDGE_CA, if the system does not know them. BRIDGE_TOKEN has the
// bearer token to present.
//
// The token of the last event that was handled is kept in a file. A service that keeps it in its database, in the transaction that does the
// work, sees every event exactly once.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { Event } from "./gen/bridge/event/v1/event_pb.ts";
import { EventStreamService } from "./gen/bridge/stream/v1/stream_pb.ts";

const [baseUrl = "http://127.0.0.1:9090", file = "position.txt"] = process.argv.slice(2);
const { BRIDGE_CA, BRIDGE_TOKEN } = process.env;
const transport = createGrpcTransport({
  baseUrl,
  readMaxBytes: 16 << 20,
  nodeOptions: BRIDGE_CA ? { ca: readFileSync(BRIDGE_CA) } : {},
  interceptors: [
    (next) => (request) => {
      if (BRIDGE_TOKEN) request.header.set("Authorization", `Bearer ${BRIDGE_TOKEN}`);
      return next(request);
    },
  ],
});
const client = createClient(EventStreamService, transport);
const retry = [Code.Unavailable, Code.ResourceExhausted, Code.Internal, Code.Canceled, Code.Aborted, Code.Unknown];

let token = load();

function handle(event: Event) {
  console.log(event.id, event.type, event.subject);
  if (event.data.case === "shipment") console.error("  tracked as", event.data.value.trackingNumber);
}

function load(): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return ""; // the first start
  }
}

function save(next: string) {
  token = next;
  writeFileSync(file + ".new", token);
  renameSync(file + ".new", file); // the file has the old token or the new one, never half of one
}

/** Handles events until the stream ends. */
async function follow() {
  const cut = new AbortController();
  let patience = 30_000;
  let dead = setTimeout(() => cut.abort(), patience);
  try {
    const start = token ? { at: { case: "token" as const, value: token } } : undefined;
    for await (const { message } of client.tail({ start, filter: { types: ["**"] } }, { signal: cut.signal })) {
      clearTimeout(dead); // the time that the work takes does not count
      if (message.case === "subscribed") {
        // Two missed heartbeats: the connection is dead, also if TCP has not noticed.
        patience = 2000 * Number(message.value.heartbeatInterval?.seconds ?? 10n);
      }
      if (message.case === "events") {
        for (const { event, token } of message.value.events) {
          if (event) handle(event);
          save(token);
        }
      } else if (message.value?.token) {
        save(message.value.token); // also where nothing passed the filter, the position moves
      }
      dead = setTimeout(() => cut.abort(), patience);
    }
  } finally {
    clearTimeout(dead);
  }
}

for (let pause = 100; ; pause = Math.min(2 * pause, 15_000)) {
  const began = Date.now();
  try {
    await follow();
  } catch (e) {
    if (!(e instanceof ConnectError) || !retry.includes(e.code)) throw e;
    console.error(e.message);
  }
  if (Date.now() - began > 10_000) pause = 100;
  await new Promise((resume) => setTimeout(resume, pause * (0.5 + Math.random() / 2)));
}
