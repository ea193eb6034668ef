"""Handles the events of a group, and survives restarts of both sides.

    python subscribe.py 127.0.0.1:9090 python-example

Each event is acknowledged once it was handled. What was not acknowledged comes again: to this program or to another member of the group.
With a CA's certificates in the file BRIDGE_CA names, the connection uses TLS and presents the token in BRIDGE_TOKEN.
"""

import os
import queue
import random
import sys
import threading
import time
import traceback

import grpc

from bridge.stream.v1 import stream_pb2, stream_pb2_grpc

RETRY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)


def handle(event):
    """Does the work. An exception brings the event back, after a pause."""
    print(event.id, event.type, event.subject, flush=True)
    if event.WhichOneof("data") == "shipment":
        print("  tracked as", event.shipment.tracking_number, file=sys.stderr)


def cancel_after(seconds, call):
    """Cancels a call when the time is over, unless the timer that it returns is cancelled first."""
    timer = threading.Timer(seconds, call.cancel)
    timer.daemon = True
    timer.start()
    return timer


def subscribe(stub, group):
    """Handles events until the stream ends."""
    requests = queue.Queue()
    # All events of the credit must be handled within the group's ack_deadline, 30 s by default. Ask for more if the work is fast.
    requests.put(stream_pb2.SubscribeRequest(start={"group": group, "credit": {"events": 10}}))
    call = stub.Subscribe(iter(requests.get, None))
    patience = 30
    dead = cancel_after(patience, call)
    try:
        for message in call:
            dead.cancel()  # the time that the work takes does not count
            if message.WhichOneof("message") == "subscribed":
                # Two missed heartbeats: the connection is dead, also if TCP has not noticed.
                patience = 2 * message.subscribed.heartbeat_interval.ToTimedelta().total_seconds()
            for delivery in message.batch.deliveries:
                try:
                    handle(delivery.event)
                    answer = {"ack": {"ids": {"ids": [delivery.id]}}}
                except Exception as e:
                    traceback.print_exc()
                    # The reason is kept with the event. The exception's text may have personal data, so its type must do.
                    answer = {"nack": {"ids": [delivery.id], "reason": type(e).__name__}}
                requests.put(stream_pb2.SubscribeRequest(**answer))
                requests.put(stream_pb2.SubscribeRequest(credit={"events": 1}))
            dead = cancel_after(patience, call)
    finally:
        dead.cancel()
        requests.put(None)


def connect(target):
    options = [("grpc.max_receive_message_length", 16 << 20)]
    if "BRIDGE_CA" not in os.environ:
        return grpc.insecure_channel(target, options)
    with open(os.environ["BRIDGE_CA"], "rb") as ca:
        credentials = grpc.ssl_channel_credentials(ca.read())
    if "BRIDGE_TOKEN" in os.environ:
        token = grpc.access_token_call_credentials(os.environ["BRIDGE_TOKEN"])
        credentials = grpc.composite_channel_credentials(credentials, token)
    return grpc.secure_channel(target, credentials, options)


def main(target, group):
    pause = 0.1
    with connect(target) as channel:
        stub = stream_pb2_grpc.EventStreamServiceStub(channel)
        while True:
            began = time.monotonic()
            try:
                subscribe(stub, group)
            except grpc.RpcError as e:
                if e.code() not in RETRY:
                    raise
                print(f"{e.code().name}: {e.details()}", file=sys.stderr)
            # A stream that lasted is followed by the next one at once; others after a pause that grows.
            pause = 0.1 if time.monotonic() - began > 10 else min(2 * pause, 15)
            time.sleep(pause * random.uniform(0.5, 1))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except KeyboardInterrupt:
        pass
