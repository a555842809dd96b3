"""What the job's script runs: ``begin`` before the workers, ``work`` in each of them, ``end`` after them."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from .claims import Claims, new_owner, start_beating
from .setting import ONCE_MORE, RAISED, RUN_AGAIN, EndWarning, Place, Study

_USAGE = "begin SESSION | work SESSION | end SESSION WARNED"


def main(arguments: list[str], study_path: Path) -> int:
    """Do one of the three; return the exit code."""
    study, place = Study.read(study_path), Place.of_this_job()
    command, session = arguments[0], arguments[1]
    if command == "begin":
        return _begin(study, place, session)
    if command == "work":
        return _work(study, place, session)
    if command == "end":
        return _end(study, place, session, warned=arguments[2] != "0")
    raise SystemExit(_USAGE)


def _begin(study: Study, place: Place, session: str) -> int:
    """Check what would fail in all workers, open the session, and say what is searched."""
    for path in (place.exception, place.broken):
        path.unlink(missing_ok=True)  # of a run before the job was requeued
    try:
        import optuna  # noqa: F401, PLC0415 - so that one sentence tells that it is missing
    except ImportError as error:
        return _leave(place.exception, type(error).__name__, _no_optuna(error), "")
    from .study import attempts_of, check, open_study  # noqa: PLC0415 - Optuna is there
    from .telling import Telling  # noqa: PLC0415

    try:
        place.shared.mkdir(parents=True, exist_ok=True)
        check(study)
        opened = open_study(study, place.journal)
    except Exception as error:  # noqa: BLE001 - Optuna's own words on an argument, or the file system's
        return _leave(place.exception, type(error).__name__, str(error), traceback.format_exc())
    Claims(place.shared).begin_session(session)
    Telling(study).begins(attempts_of(opened), journal=str(place.journal))
    return 0


def _work(study: Study, place: Place, session: str) -> int:
    """Be a worker."""
    warning = EndWarning()
    warning.listen()
    claims = Claims(place.shared)
    number = claims.session_number(session)
    if number is None:
        raise SystemExit(f"session {session!r} was never begun in {place.shared}")
    owner = new_owner(number, int(os.environ.get("SLURM_PROCID", "0")))
    start_beating(claims.beat_path(owner), lost_seconds=study.lost_seconds)
    # Only now, since the beats come from a fork, and Optuna's libraries start threads.
    from .study import open_study  # noqa: PLC0415
    from .worker import Worker, load_objective  # noqa: PLC0415

    try:
        objective = load_objective(study.objective, place.code)
    except Exception as error:  # noqa: BLE001 - whatever the module raises: no worker can go on
        _leave(place.broken, type(error).__name__, str(error), traceback.format_exc())
        return RAISED
    opened = open_study(study, place.journal)
    Worker(study, place, claims, owner, session, opened, objective, warning).run()
    return 0


def _end(study: Study, place: Place, session: str, *, warned: bool) -> int:
    """Decide by the study's state how the job ends, and leave its result."""
    from .results import describe, fitting, write_all  # noqa: PLC0415 - as above
    from .slots import State, failures_in_a_row, finished  # noqa: PLC0415
    from .study import attempts_of, open_study  # noqa: PLC0415
    from .telling import Telling, say  # noqa: PLC0415

    if place.broken.exists():
        place.broken.replace(place.exception)
        return RAISED
    opened = open_study(study, place.journal)
    attempts = attempts_of(opened)
    over = finished(attempts, on_grid=bool(study.grid))
    if len(over) >= study.trials and any(each.state is not State.FAILED for each in over.values()):
        result = describe(study, attempts)
        everything = place.shared / "trials.jsonl"
        write_all(result, everything)
        result |= {"journal": str(place.journal), "trials_file": str(everything)}
        place.result.write_text(json.dumps(fitting(result, maximize=study.maximize)), encoding="utf-8")
        return 0
    row = failures_in_a_row(attempts)
    if len(row) >= min(study.max_failures, study.trials):
        last = opened.get_trials(deepcopy=False)[row[-1].number].user_attrs.get("headnode_traceback", "")
        kind, _, message = (row[-1].failure or "").partition(": ")
        return _leave(place.exception, kind, f"{message}; {Telling(study).gives_up(attempts)}", last, aloud=False)
    if warned:
        say(f"the job is warned of its end with {len(over)} of {study.trials} trials over, and asks to be run again")
        return RUN_AGAIN
    if any(each.session == session for each in over.values()):
        say(f"all workers have ended with {len(over)} of {study.trials} trials over; they are started once more")
        return ONCE_MORE
    sys.stderr.write(
        f"all workers have ended with {len(over)} of {study.trials} trials over, and none since they were started: look"
        " above for what ended them (too little memory, a program that can't be started)\n"
    )
    return 1


def _no_optuna(error: ImportError) -> str:
    version = sys.version.split()[0]
    return (
        f"Optuna can't be imported by {sys.executable} (Python {version}) on {os.uname().nodename}: {error}; name the"
        " Python that has it by python=, or load it by environment= or setup="
    )


def _leave(path: Path, kind: str, message: str, trace: str, *, aloud: bool = True) -> int:
    """Leave an exception for Airflow, whole or not at all."""
    told: dict[str, Any] = {"type": kind, "message": message[:2000], "traceback": trace[-12000:]}
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(json.dumps(told), encoding="utf-8")
    new.replace(path)
    if aloud:
        sys.stderr.write(f"{trace or message}\n")
    return RAISED
