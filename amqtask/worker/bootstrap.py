"""The first thing that a worker's process runs: patch, if the pool needs it, before anything else is imported.

Run as a script by its path, not as a module: importing the package would come before the patch.
"""

import faulthandler
import signal
import sys
import warnings


def main(descriptor: str, patch: str) -> int:
    """`descriptor` is the number of the pipe's socket; `patch` is "gevent", "eventlet" or empty."""
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    if patch == "gevent":
        from gevent import monkey

        monkey.patch_all()
    elif patch == "eventlet":
        with warnings.catch_warnings():
            # It says on every import that nobody should begin to use it; docs/pools.md says so too, once.
            warnings.simplefilter("ignore", DeprecationWarning)
            import eventlet

        eventlet.monkey_patch()
    from amqtask.worker.reader import Reader

    # A patched process reads for itself: what it forked would be half patched.
    reader = Reader() if patch else Reader.start()
    from amqtask.worker.child import main as run

    return run(int(descriptor), reader)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
