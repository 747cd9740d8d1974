"""What the witnesses in Python share: one request a line comes in, and what there is to say goes out as lines of JSON."""
import json
import os
import sys
import threading
from datetime import datetime, timezone

GROUP = "$Default"
CONNECTION_STRING = sys.argv[1]
WEBSOCKET = "--websocket" in sys.argv
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_speaking = threading.Lock()


def say(**line):
    with _speaking:
        print(json.dumps(line), flush=True)


class Absent(Exception):
    """The client cannot do this at all."""


def obey(witness):
    """Does what is asked, until nobody asks any more; each public method of the witness is a request."""
    for line in sys.stdin:
        request = json.loads(line)
        id, what = request.pop("id"), request.pop("do")
        try:
            if not hasattr(witness, what):
                raise Absent(what)
            say(id=id, ok=getattr(witness, what)(**request))
        except Absent as absent:
            say(id=id, absent=str(absent))
        except Exception as error:
            say(id=id, error=describe(error))
    os._exit(0)  # whatever threads of the client still run


def describe(error):
    return f"{type(error).__name__}: {error}"


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def plain(value):
    """As JSON has it: the SDK decodes no text in maps."""
    if isinstance(value, dict):
        return {text(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else text(value)


def millis(time):
    return round((time - EPOCH).total_seconds() * 1000)
