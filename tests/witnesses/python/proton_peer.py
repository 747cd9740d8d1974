"""The witness of Qpid Proton, which knows AMQP and nothing of Event Hubs: `proton_peer.py CONNECTION_STRING`; see common.py."""
import base64
import hashlib
import hmac
import re
import threading
import time
from urllib.parse import quote

from proton import Described, Message, ProtonException, Timeout, symbol
from proton.reactor import ReceiverOption
from proton.utils import BlockingConnection, LinkDetached

from common import CONNECTION_STRING, Absent, describe, obey, say

ADDRESS, POLICY, KEY = re.search(
    r"sb://([^;/]+).*SharedAccessKeyName=([^;]+);SharedAccessKey=([^;]+)", CONNECTION_STRING
).groups()
LIMIT = 20  # seconds that an answer may take
SELECTOR = "apache.org:selector-filter:string"


class Start(ReceiverOption):
    """What only an Event Hubs knows: a position and an owner level."""

    def __init__(self, start, owner_level):
        self.start, self.owner_level = start, owner_level

    def apply(self, receiver):
        selector = {symbol(SELECTOR): Described(symbol(SELECTOR), expression(self.start))}
        receiver.source.filter.put_dict(selector)
        if self.owner_level is not None:
            receiver.properties = {symbol("com.microsoft:epoch"): self.owner_level}


def expression(start):
    for field in ("offset", "sequence_number", "enqueued_ms"):
        if field in start:
            name, value = field.replace("_ms", "_time").replace("_", "-"), start[field]
            break
    else:
        name, value = "offset", "@latest" if "latest" in start else "-1"
    return f"amqp.annotation.x-opt-{name} >{'=' if start.get('inclusive') else ''} '{value}'"


def open_connection(**options):
    """A connection without any token."""
    return BlockingConnection(f"amqp://{ADDRESS}", timeout=LIMIT, allowed_mechs="ANONYMOUS", **options)


def connect(hub, idle_seconds=None):
    """A connection with a token for a hub."""
    connection = open_connection(heartbeat=idle_seconds)
    audience = f"sb://{ADDRESS}/{hub}"
    properties = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": audience}
    ask(connection, "$cbs", properties, token(audience))
    return connection


def token(audience):
    resource, expiry = quote(audience, safe=""), int(time.time()) + 3600
    digest = hmac.new(KEY.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={POLICY}"


def ask(connection, node, properties, body=None):
    """What a request node answers."""
    receiver = connection.create_receiver(node, credit=1)
    sender = connection.create_sender(node)
    sender.send(Message(id="1", properties=properties, body=body))
    answer = receiver.receive(LIMIT)
    assert answer.properties["status-code"] < 300, answer.properties
    return answer.body


def from_message(message):
    annotations = message.annotations
    return {
        "body": from_body(message),
        "sequence_number": annotations["x-opt-sequence-number"],
        "offset": annotations["x-opt-offset"],
        "enqueued_ms": annotations["x-opt-enqueued-time"],
        "key": annotations.get("x-opt-partition-key"),
        "message_id": message.id,
        "properties": message.properties or {},
    }


def from_body(message):
    if isinstance(message.body, memoryview):
        return bytes(message.body).decode()
    if isinstance(message.body, bytes):
        return message.body.decode()
    return {"sequence" if message.inferred else "value": message.body}


class Witness:
    def __init__(self):
        self.stopping = {}

    def properties(self, hub):
        found = self.manage(hub, type="com.microsoft:eventhub")
        return {"name": found["name"], "partitions": list(found["partition_ids"].elements)}

    def partition(self, hub, partition):
        found = self.manage(hub, type="com.microsoft:partition", partition=partition)
        return {
            "id": found["partition"],
            "beginning": found["begin_sequence_number"],
            "last": found["last_enqueued_sequence_number"],
            "offset": found["last_enqueued_offset"],
            "enqueued_ms": found["last_enqueued_time_utc"],
            "empty": found["is_partition_empty"],
        }

    def properties_by_request_token(self, hub):
        security_token = token(f"sb://{ADDRESS}/{hub}")
        found = self.manage(hub, open_connection(), type="com.microsoft:eventhub", security_token=security_token)
        return {"name": found["name"], "partitions": list(found["partition_ids"].elements)}

    def max_frame_size(self, offered):
        connection = open_connection(max_frame_size=offered)
        answered = connection.conn.transport.remote_max_frame_size
        connection.close()
        return answered

    def refused_links(self, hub, count):
        """The conditions of links to a group that is not there, in one session."""
        connection, conditions = connect(hub), []
        for _ in range(count):
            try:
                connection.create_receiver(f"{hub}/ConsumerGroups/nobody/Partitions/0", credit=10)
            except LinkDetached as detached:
                conditions.append(detached.condition)
        connection.close()
        return conditions

    @staticmethod
    def manage(hub, connection=None, **properties):
        connection = connection or connect(hub)
        found = ask(connection, "$management", {"operation": "READ", "name": hub, **properties})
        connection.close()
        return found

    def send(self, hub, bodies, batch, partition=None, key=None, message_id=None, properties=None):
        if batch:
            raise Absent("a message format")
        if any(isinstance(body, dict) and "sequence" in body for body in bodies):
            raise Absent("several sequence sections")
        connection = connect(hub)
        sender = connection.create_sender(f"{hub}/Partitions/{partition}" if partition else hub)
        for body in bodies:
            is_data = not isinstance(body, dict)
            message = Message(body=body.encode() if is_data else body["value"], inferred=is_data)
            message.id, message.properties = message_id, properties
            message.annotations = {symbol("x-opt-partition-key"): key} if key else None
            sender.send(message)
        connection.close()

    def send_of_any_size(self, hub, body, partition):
        self.send(hub, [body], batch=False, partition=partition)

    def read(self, reader, hub, partition, group, start, owner_level, last_enqueued, retry, idle_seconds):
        if last_enqueued:
            raise Absent("capabilities of a link")
        stop = self.stopping[reader] = threading.Event()
        source = f"{hub}/ConsumerGroups/{group}/Partitions/{partition}"

        def attach(start):
            """Reads until something ends, which is an error; gives what it got."""
            connection = connect(hub, idle_seconds)
            receiver = connection.create_receiver(source, credit=100, options=Start(start, owner_level))
            while not stop.is_set():
                try:
                    event = from_message(receiver.receive(0.2))
                except Timeout:
                    continue
                progress["offset"] = event["offset"]
                say(reader=reader, event=event)
            connection.close()

        def follow():
            """Starts over behind the last event when whatever ends; a library of AMQP leaves that to its user."""
            while not stop.is_set():
                try:
                    attach(progress or start)
                except ProtonException as error:
                    say(reader=reader, error=describe(error))
                    if not retry:
                        return
                    stop.wait(0.2)

        progress = {}
        threading.Thread(target=follow, daemon=True).start()

    def stop(self, reader):
        self.stopping.pop(reader).set()


obey(Witness())
