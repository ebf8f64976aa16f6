"""`python3 -m skyloop_container train | evaluate | serve`: what the image's ENTRYPOINT runs."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

from .environment import TERMINATED, Environment, Interrupted, JobError


def main(arguments: list[str]) -> int:
    """Run one program. Returns the exit code: 0, 1 (failed, the reason is written), 2 (wrong usage), 143 (SIGTERM)."""
    programs = {"train": _train, "evaluate": _evaluate, "serve": _serve}
    if len(arguments) != 1 or arguments[0] not in programs:
        print(f"usage: python3 -m skyloop_container {'|'.join(programs)}", file=sys.stderr)
        return 2
    environment = Environment.current()
    # An exception, so that the scratch folder is removed in that case too. Trainer and endpoint replace this handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        return programs[arguments[0]](environment)
    finally:
        environment.remove_scratch()


def _train(environment: Environment) -> int:
    # Set before torch is imported, which is when OpenMP reads it. By default its threads spin while they wait for each
    # other: on a shared machine that takes the very cores they wait for (measured: five times the CPU time).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _import_train()(environment)
    except Interrupted:
        print("terminated: the checkpoint is kept, the job can be resumed", file=sys.stderr)
        return TERMINATED
    except Exception as error:
        return _failed(error, environment.write_training_failure)
    return 0


def _import_train() -> Callable[[Environment], None]:
    try:
        from .train import run
    except ModuleNotFoundError as error:
        raise JobError(
            f"This image has no {error.name}: it evaluates and serves. Train with the image of the target training."
        ) from error
    return run


def _evaluate(environment: Environment) -> int:
    from .evaluate import run

    try:
        environment.write_processing_message(run(environment))
    except Exception as error:
        return _failed(error, environment.write_processing_message)
    return 0


def _serve(environment: Environment) -> int:
    from .serve import run

    try:
        run(environment)
    except JobError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _failed(error: Exception, write: Callable[[str], None]) -> int:
    """Write one sentence for the job's owner. The traceback of an unexpected error goes to the log as well."""
    sentence = str(error) if isinstance(error, JobError) else f"Unexpected {type(error).__name__}: {error}"
    if not isinstance(error, JobError):
        traceback.print_exception(error)
    print(sentence, file=sys.stderr, flush=True)
    write(sentence)
    return 1


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is written, and torch takes a second or more to take itself apart
