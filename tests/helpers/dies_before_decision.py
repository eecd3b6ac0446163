"""`mt-sweep`, but it dies as soon as a report is in the ledger that is to end its trial, before it is ended."""

import os
import signal

from mt_sweeps.cli import main
from mt_sweeps.study.ledger import Ledger

decide = Ledger.report


def report(ledger, trial, one):
    ends = decide(ledger, trial, one)
    if ends:
        os.kill(os.getpid(), signal.SIGKILL)
    return ends


Ledger.report = report
main()
