"""Passes, fails or hangs as told, so that the harness can be tested."""
import sys
import time

print("out")
match sys.argv[1]:
    case "fail":
        print("err", file=sys.stderr)
        sys.exit(3)
    case "hang":
        time.sleep(600)
